//! Named places where a test makes the disk fail or the process die.
//!
//! Armed only in builds with the `failpoints` feature, through the `FAILPOINTS` variable or `fail::cfg`:
//! `state.commit.apply=3*off->return(enospc)`. The argument names the fault: `enospc` (disk full), `eio` (I/O error),
//! `kill` (the process ends at once, as by `kill -9`).

use std::io;

/// Every failpoint of the project, so that a test can visit all of them.
pub const ALL: &[&str] = &[
    "log.append.write",
    "log.append.sync",
    "log.side.sync",
    "log.roll",
    "state.commit.fold",
    "state.commit.stage",
    "state.commit.apply",
    "state.commit.flush",
    "state.snapshot.rename",
    "sink.seal",
    "sink.commit",
    "backfill.step",
    "recovery.begin",
    "recovery.end",
];

/// Arms what the `FAILPOINTS` variable lists, for the life of the process.
pub fn arm() {
    #[cfg(feature = "failpoints")]
    std::mem::forget(fail::FailScenario::setup());
}

/// Returns the fault that a test armed at `name`, `Ok` everywhere else.
#[cfg(feature = "failpoints")]
pub fn hit(name: &str) -> io::Result<()> {
    debug_assert!(ALL.contains(&name), "failpoint {name} is not listed");
    match fail::eval(name, |arg| arg.unwrap_or_default()).as_deref() {
        None => Ok(()),
        Some("kill") => {
            // SIGKILL to ourselves: nothing is flushed, no destructor runs.
            let _ = std::process::Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
            std::process::abort()
        }
        Some("enospc") => Err(io::Error::from(io::ErrorKind::StorageFull)),
        Some(_) => Err(io::Error::other(format!("injected at {name}"))),
    }
}

#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn hit(_name: &str) -> io::Result<()> {
    Ok(())
}
