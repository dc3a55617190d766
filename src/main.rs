//! The `weir` binary: reads the settings, sets up the log, opens the database, and serves it until a signal.

mod client;
mod settings;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use weir::common::config::Config;
use weir::common::{Error, ErrorKind, Result, failpoint};
use weir::database::Database;
use weir::server::{Backend, Rules, Server};
use weir::session::Session;
use weir::types::Verifier;

use self::settings::{Cli, Command, ServeArguments};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(arguments) => match arguments.clone().settings() {
            Ok(settings) => match start_log(&settings.log) {
                Ok(()) => serve(settings.config, arguments).await.map(|()| ExitCode::SUCCESS),
                Err(e) => Err(e),
            },
            Err(e) => Err(e),
        },
        Command::Sql(arguments) => client::run(arguments).await,
    };
    outcome.unwrap_or_else(|e| {
        eprintln!("weir: {}", e.message());
        if let Some(detail) = e.detail() {
            eprintln!("DETAIL: {detail}");
        }
        if let Some(hint) = e.hint() {
            eprintln!("HINT: {hint}");
        }
        ExitCode::FAILURE
    })
}

/// Runs until SIGTERM or SIGINT; then tells the clients, and returns when they are gone.
async fn serve(config: Config, arguments: ServeArguments) -> Result<()> {
    failpoint::arm();
    let stop = stop_on_signal()?;
    // The port first: a second server must not touch the first one's data folder.
    let server = Server::bind(&config).await?;
    reload_on_signal(server.rules(), arguments)?;
    let data = config.data_dir.display().to_string();
    let database = Database::open(config).await?;
    tracing::info!(address = %server.address(), %data, "ready for connections");
    server.serve(Arc::new(Open(database.clone())), stop).await;
    database.shutdown().await?;
    tracing::info!("stopped");
    Ok(())
}

/// The database as the wire sees it.
struct Open(Arc<Database>);

impl Backend for Open {
    type Session = Session;

    fn asks_passwords(&self) -> bool {
        self.0.asks_passwords()
    }

    fn verifier(&self, user: &str) -> Option<Verifier> {
        self.0.verifier(user)
    }

    fn session(&self, user: &str, database: &str) -> Result<Session> {
        self.0.session(user, database)
    }
}

fn stop_on_signal() -> Result<CancellationToken> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "stopping");
        stopping.cancel();
    });
    Ok(stop)
}

/// SIGHUP reads the settings again: the rules of who may connect count at once.
fn reload_on_signal(rules: Rules, arguments: ServeArguments) -> Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            match arguments.clone().settings().and_then(|settings| rules.reload(&settings.config)) {
                Ok(()) => tracing::info!("the rules were read again"),
                Err(e) => tracing::error!(error = %e, hint = e.hint(), "the rules stay as they were"),
            }
        }
    });
    Ok(())
}

fn start_log(filter: &str) -> Result<()> {
    let filter = EnvFilter::try_new(filter).map_err(|e| {
        Error::new(ErrorKind::InvalidParameterValue, format!("log filter {filter:?}: {e}"))
            .with_hint("write a level (error, warn, info, debug, trace), or targets: info,weir::checkpoint=debug")
    })?;
    tracing_subscriber::fmt()
        .compact()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    Ok(())
}
