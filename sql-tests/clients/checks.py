"""What the suites in Python share: checks by name, one line of output each, and a restart of the server."""

import asyncio
import inspect
import os
import socket
import sys
import traceback

HOST = os.environ["PGHOST"]
PORT = int(os.environ["PGPORT"])
CHECKS = []


def check(function):
    """Marks a check: its name is what it shows."""
    CHECKS.append(function)
    return function


class Skip(Exception):
    """Raised by a check that cannot pass yet, with the reason."""


def restart():
    """Asks the runner to kill the server and start it again; returns when it listens."""
    with socket.create_connection((HOST, int(os.environ["WEIR_CONTROL"]))) as control:
        control.sendall(b"restart\n")
        assert control.recv(16) == b"done\n"


def equal(got, wanted):
    assert got == wanted, f"got {got!r}, wanted {wanted!r}"


def raises(state, error, function, *arguments):
    """Calls; wants an error of the type `error` with the SQLSTATE."""
    try:
        function(*arguments)
    except error as e:
        equal(getattr(e, "sqlstate", None), state)
        return e
    raise AssertionError(f"no error, wanted {state}")


def run(driver, version):
    """Runs the checks of the module, and ends the process."""
    print(f"driver {driver} {version}")
    failed = False
    for function in CHECKS:
        name = function.__name__
        try:
            if inspect.iscoroutinefunction(function):
                asyncio.run(function())
            else:
                function()
            print(f"ok {name}")
        except Skip as e:
            print(f"skip {name}: {e}")
        except Exception as e:
            failed = True
            print(f"FAIL {name}: {type(e).__name__}: {str(e).strip()}".replace("\n", " | "))
            traceback.print_exc()
    sys.exit(failed)
