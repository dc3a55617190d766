//! The shipped examples, the demonstration and the tour of README.md: the scripts that users run, against the binary under
//! test. They compare what is printed with what is written down, with psql where it is installed and with `weir sql`.

use std::path::Path;
use std::process::Command;

/// Runs a script of `examples/`; its output is shown when it fails.
fn run(script: &str, arguments: &[&str], client: &str) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("bash")
        .arg(root.join("examples").join(script))
        .args(arguments)
        .env("WEIR", env!("CARGO_BIN_EXE_weir"))
        .env("WEIR_CLIENT", client)
        .output()
        .expect("bash runs the script");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("--- {script} with {client}\n{out}{err}---");
    output.status.success()
}

fn psql_is_there() -> bool {
    Command::new("psql").arg("--version").output().is_ok_and(|o| o.status.success())
}

fn clients() -> impl Iterator<Item = &'static str> {
    ["weir", "psql"].into_iter().filter(|client| *client != "psql" || psql_is_there())
}

#[test]
fn the_demonstration_ends_as_it_says() {
    for client in clients() {
        assert!(run("demo.sh", &[], client), "make demo fails with {client}");
    }
}

#[test]
fn examples_and_tour_print_what_is_written() {
    for client in clients() {
        assert!(run("run.sh", &[env!("CARGO_BIN_EXE_weir")], client), "examples/run.sh fails with {client}");
    }
}
