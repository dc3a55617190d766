"""Drivers against a real server: installs them, starts a Weir on loopback, runs each suite, and prints a table.

    run.py [suite ...]      suites are the names below; all of them when none is named

Python's packages go to a virtual environment, Node's and Debian's packages to folders, all under target/clients: nothing
is installed on the machine. A suite is a program that prints `driver NAME VERSION`, then `ok CHECK`, `skip CHECK: why`
or `FAIL CHECK: why` a line. It finds the server by PGHOST and PGPORT, and has it killed and started again by sending
`restart` to the port WEIR_CONTROL.
"""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TOOLS = ROOT / "target" / "clients"
VENV = TOOLS / "venv" / "bin"


class Server:
    """A Weir process on a port of its own, and the control port that restarts it."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="weir-clients-")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = open(TOOLS / "server.log", "w")
        self.start()
        self.control = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.obey, daemon=True).start()

    def start(self):
        binary = os.environ.get("WEIR", ROOT / "target" / "debug" / "weir")
        command = [binary, "serve", "--listen", f"127.0.0.1:{self.port}", "--data-dir", self.folder.name + "/data"]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, cwd=self.folder.name)
        for _ in range(600):
            try:
                return socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                if self.process.poll() is not None:
                    sys.exit(f"the server ended; its log is {self.log.name}")
                time.sleep(0.05)
        sys.exit("the server does not listen")

    def obey(self):
        while True:
            client, _ = self.control.accept()
            with client:
                if client.recv(16) == b"restart\n":
                    self.process.send_signal(signal.SIGKILL)
                    self.process.wait()
                    self.start()
                    client.sendall(b"done\n")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.folder.cleanup()


def quiet(command, **options):
    """Runs an installer; its output is shown only if it fails."""
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if done.returncode:
        sys.stdout.buffer.write(done.stdout)
        raise RuntimeError(f"{command[0]} failed")


def nothing():
    """psql and pgbench are asked of the machine."""


def python(*packages):
    """A suite in Python with packages of PyPI."""
    def install():
        if not VENV.exists():
            quiet([sys.executable, "-m", "venv", VENV.parent])
        quiet([VENV / "pip", "install", "-q", "--disable-pip-version-check", *packages])
    return install


def node(*packages):
    """A suite for Node with packages of npm."""
    def install():
        folder = TOOLS / "node"
        folder.mkdir(exist_ok=True)
        (folder / "package.json").write_text('{"private": true}\n')
        quiet(["npm", "install", "--no-audit", "--no-fund", *packages], cwd=folder)
    return install


def debian(*packages):
    """A suite with files of Debian's packages, unpacked beside it, not installed."""
    def install():
        folder = TOOLS / "deb"
        folder.mkdir(exist_ok=True)
        for package in packages:
            if not list(folder.glob(f"{package}_*.deb")):
                quiet(["apt-get", "download", package], cwd=folder)
                [file] = folder.glob(f"{package}_*.deb")
                quiet(["dpkg", "-x", file, TOOLS / "debian"])
    return install


PGX = [
    "golang-1.19-go", "golang-1.19-src", "golang-github-jackc-pgx-v4-dev", "golang-github-jackc-pgconn-dev",
    "golang-github-jackc-pgtype-dev", "golang-github-jackc-pgio-dev", "golang-github-jackc-pgpassfile-dev",
    "golang-github-jackc-pgservicefile-dev", "golang-github-jackc-pgproto3-v2-dev", "golang-github-jackc-chunkreader-v2-dev",
    "golang-github-jackc-puddle-dev", "golang-golang-x-text-dev", "golang-golang-x-crypto-dev",
]


def pgx():
    """Builds the suite from Debian's sources of pgx, with Debian's Go."""
    debian(*PGX)()
    root = TOOLS / "debian" / "usr" / "lib" / "go-1.19"
    environment = os.environ | {
        "GOROOT": str(root), "GOPATH": str(TOOLS / "debian" / "usr" / "share" / "gocode"), "GO111MODULE": "off",
        "GOCACHE": str(TOOLS / "go-cache"), "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOFLAGS": "",
    }
    quiet([root / "bin" / "go", "build", "-o", TOOLS / "pgx", HERE / "pgx" / "main.go"], env=environment)
    [package] = (TOOLS / "deb").glob("golang-github-jackc-pgx-v4-dev_*.deb")
    os.environ["PGX_VERSION"] = package.name.split("_")[1].split("-")[0]


SUITES = {
    "psycopg": (python("psycopg[binary]"), [VENV / "python", HERE / "psycopg_suite.py"]),
    "asyncpg": (python("asyncpg"), [VENV / "python", HERE / "asyncpg_suite.py"]),
    "sqlalchemy": (
        python("psycopg[binary]", "asyncpg", "sqlalchemy[asyncio]>=2"),
        [VENV / "python", HERE / "sqlalchemy_suite.py"],
    ),
    "jdbc": (
        debian("libpostgresql-jdbc-java"),
        ["java", "-cp", TOOLS / "debian" / "usr" / "share" / "java" / "postgresql.jar", "-ea", HERE / "jdbc" / "Suite.java"],
    ),
    "pgx": (pgx, [TOOLS / "pgx"]),
    "psql": (nothing, [sys.executable, HERE / "tools_suite.py", "psql"]),
    "pgbench": (nothing, [sys.executable, HERE / "tools_suite.py", "pgbench"]),
    "pgcli": (python("pgcli"), [VENV / "python", HERE / "tools_suite.py", "pgcli"]),
    "dbt": (python("dbt-core<1.11", "dbt-postgres<1.11"), [VENV / "python", HERE / "dbt_suite.py"]),
    "node": (node("pg", "pg-cursor", "pg-query-stream"), ["node", HERE / "node_suite.js"]),
}


def main():
    TOOLS.mkdir(parents=True, exist_ok=True)
    wanted = sys.argv[1:] or list(SUITES)
    table, failures = [], []
    for name in wanted:
        install, command = SUITES[name]
        try:
            install()
        except (RuntimeError, OSError) as e:
            table.append((name, "-", f"not installed: {e}"))
            failures.append(name)
            continue
        server = Server()
        try:
            environment = os.environ | {
                "PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "root", "PGDATABASE": "dev",
                "WEIR_CONTROL": str(server.control.getsockname()[1]), "TOOLS": str(TOOLS),
                "NODE_PATH": str(TOOLS / "node" / "node_modules"), "PSQLRC": "/dev/null", "PYTHONUNBUFFERED": "1",
            }
            with open(TOOLS / f"{name}.log", "w") as log:
                ran = subprocess.run([str(c) for c in command], env=environment, stdout=subprocess.PIPE, stderr=log,
                                     text=True, timeout=900)
        finally:
            server.stop()
        lines = ran.stdout.splitlines()
        driver = next((line.split(" ", 2)[1:] for line in lines if line.startswith("driver ")), [name, "?"])
        passed = sum(line.startswith("ok ") for line in lines)
        skipped = [line for line in lines if line.startswith("skip ")]
        failed = [line for line in lines if line.startswith("FAIL ")]
        if ran.returncode and not failed:
            failed = [f"FAIL the suite ended with {ran.returncode}, see {TOOLS / name}.log"]
        failures += failed
        table.append((driver[0], driver[1], f"{passed}/{passed + len(failed)}"))
        for line in failed + skipped:
            print(f"{name}: {line}")
    width = max(len(row[0]) for row in table)
    print(f"\n{'driver':{width}}  {'version':<12}  passed")
    for driver, version, passed in table:
        print(f"{driver:{width}}  {version:<12}  {passed}")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
