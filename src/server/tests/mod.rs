//! The wire over real sockets, with a fake backend: tokio-postgres where it can say it, raw bytes where it cannot.

mod fake;
mod lifecycle;
mod protocol;
mod raw;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client, NoTls};
use tokio_util::sync::CancellationToken;

use self::fake::Fake;
use super::Server;
use crate::common::config::Config;

/// A server that runs until it is dropped.
struct Running {
    address: SocketAddr,
    backend: Arc<Fake>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn start(change: impl FnOnce(&mut Config)) -> Running {
    let mut config = Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..Config::default() };
    change(&mut config);
    let server = Server::bind(&config).await.unwrap();
    let (address, backend, stop) = (server.address(), Arc::new(Fake::default()), CancellationToken::new());
    *backend.password.lock() = config.password.clone();
    let serving = tokio::spawn(server.serve(backend.clone(), stop.clone()));
    Running { address, backend, stop, serving }
}

impl Running {
    fn settings(&self) -> tokio_postgres::Config {
        let mut settings = tokio_postgres::Config::new();
        settings.host(self.address.ip().to_string()).port(self.address.port()).user("root").dbname("dev");
        settings
    }

    async fn connect(&self) -> Client {
        let (client, connection) = self.settings().connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// With the notices that arrive.
    async fn connect_noticing(&self) -> (Client, tokio::sync::mpsc::UnboundedReceiver<String>) {
        let (client, mut connection) = self.settings().connect(NoTls).await.unwrap();
        let (sender, notices) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notice(notice) = message {
                    let _ = sender.send(format!("{}: {}", notice.severity(), notice.message()));
                }
            }
        });
        (client, notices)
    }
}
