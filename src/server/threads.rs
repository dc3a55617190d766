//! The threads that serve clients. Each runs a share of the connections alone, so a short answer wakes one thread and
//! crosses to no other; and the system shares its cores out by threads, so many clients get more of them than few while
//! views are computed.
//!
//! ```text
//!   accept --spawn--> the thread with the fewest connections --> its tasks
//!                     (or a new one, up to LIMIT)
//! ```
//!
//! Knows nothing of what is served.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Threads at most. More connections share them.
const LIMIT: usize = 16;

/// Of each thread, taken as it is needed: statements nest, and are planned where they arrive.
const STACK_BYTES: usize = 16 << 20;

/// Dropping it lets the threads end once they have no task in hand.
#[derive(Default)]
pub struct Threads {
    threads: Vec<Thread>,
    stop: CancellationToken,
}

struct Thread {
    handle: Handle,
    /// A clone for each connection, and this one.
    connections: Arc<()>,
}

impl Threads {
    /// Runs a connection's task, which `tasks` keeps, where there are the fewest.
    ///
    /// # Errors
    /// When the first thread cannot be had.
    pub fn spawn<T: Send + 'static>(
        &mut self,
        tasks: &mut JoinSet<T>,
        connection: impl Future<Output = T> + Send + 'static,
    ) -> io::Result<()> {
        let thread = self.choose()?;
        let counted = thread.connections.clone();
        tasks.spawn_on(
            async move {
                let _counted = counted;
                connection.await
            },
            &thread.handle,
        );
        Ok(())
    }

    fn choose(&mut self) -> io::Result<&Thread> {
        let emptiest = |threads: &[Thread]| (0..threads.len()).min_by_key(|i| threads[*i].count());
        let index = match emptiest(&self.threads) {
            Some(index) if self.threads[index].count() == 0 || self.threads.len() == LIMIT => index,
            found => match (Thread::start(self.stop.clone()), found) {
                (Ok(thread), _) => {
                    self.threads.push(thread);
                    self.threads.len() - 1
                }
                // Out of threads or file descriptors: those that there are serve it.
                (Err(_), Some(index)) => index,
                (Err(e), None) => return Err(e),
            },
        };
        Ok(&self.threads[index])
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Thread {
    fn start(stop: CancellationToken) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().thread_name("wire").enable_all().build()?;
        let handle = runtime.handle().clone();
        thread::Builder::new()
            .name("wire".into())
            .stack_size(STACK_BYTES)
            .spawn(move || runtime.block_on(stop.cancelled()))?;
        Ok(Self { handle, connections: Arc::default() })
    }

    fn count(&self) -> usize {
        Arc::strong_count(&self.connections) - 1
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use tokio::sync::Semaphore;

    use super::*;

    /// Each has a thread of its own up to the limit; then they share; a free thread is taken first.
    #[tokio::test]
    async fn spread_and_bounded() {
        let (mut threads, mut tasks) = (Threads::default(), JoinSet::new());
        let go = Arc::new(Semaphore::new(0));
        let mut start = |tasks: &mut JoinSet<_>| {
            let go = go.clone();
            threads.spawn(tasks, async move {
                go.acquire().await.unwrap().forget();
                thread::current().id()
            })
        };
        for _ in 0..3 * LIMIT {
            start(&mut tasks).unwrap();
        }
        go.add_permits(3 * LIMIT);
        let mut seen = HashSet::new();
        while let Some(id) = tasks.join_next().await {
            seen.insert(id.unwrap());
        }
        assert_eq!(seen.len(), LIMIT);
        start(&mut tasks).unwrap();
        go.add_permits(1);
        assert!(seen.contains(&tasks.join_next().await.unwrap().unwrap()));
    }
}
