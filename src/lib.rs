//! Weir: a SQL streaming database in one binary. This page is the architecture; each module's own page has its part.
//!
//! # From above
//!
//! Rows come in: by `INSERT`, from files, over TCP, from generators. Views over them are kept up to date as they come,
//! by a graph of parallel actors that pass chunks of changes to each other. `SELECT` reads tables and views as of one
//! moment. Everything is in one process and one data folder, and what was acknowledged survives `kill -9`.
//!
//! ```text
//!  SQL text --server--> session --sql--> AST --planner--> plan (stream nodes, cut into fragments)
//!                          |                                          |
//!                        SELECT                             CREATE: job starts actors
//!                          v                                          v
//!   rows <--server-- batch (DataFusion, one epoch) <---state<--- source > exchange > operator > ... > materialize
//!                                                        ^            ^ barrier(epoch)            | sealed writes, ack
//!                                                        +- commit -- checkpoint <----------------+
//! ```
//!
//! # The model
//!
//! - A stream is a sequence of [chunks](types::StreamChunk): Arrow batches with a weight a row, +1 to insert and -1 to
//!   retract. A view is the sum of its changes, so that at the end of every epoch it equals its query run as a batch.
//! - An [epoch](types::Epoch) is what lies between two barriers. `checkpoint` sends barrier *n* to all sources; it flows
//!   behind their rows, an actor with several inputs waits until all have delivered it, and what all have made of the
//!   rows before it is one consistent cut of the whole database: epoch *n* is *complete*, and readers may see it.
//! - A *checkpoint* makes a complete epoch durable: rows of all state tables, positions of all sources, in one atomic
//!   batch. A restart goes on from the last one. Visible and durable are two intervals, and neither waits for the other.
//! - A *watermark* says that no earlier event time is expected. It flows with the rows, closes windows and frees their
//!   state.
//!
//! # The way of the data
//!
//! An `INSERT`: `session` plans and evaluates it, [`log`] writes it and is fsynced together with what others write at
//! that time, the client is answered. Each table has a job that reads its log by offset. So do sources that cannot
//! replay, such as TCP. Files and generators are read again from the stored position instead.
//!
//! A source's reader hands out units of about a MiB in order; the actors of the fragment take whoever is free and decode in
//! parallel, only the columns that the plan needs. Operators of one fragment call each other directly, chunk by chunk.
//! At an exchange rows go to the actor that owns their key's [virtual node](types::VNODES), through a bounded channel:
//! what is slow slows down what is before it, up to the socket or the file. Nothing is dropped.
//!
//! An aggregation has two halves. The lower groups an epoch's rows, in memory, and at the barrier sends one partial
//! state a group; the upper merges it into what it keeps and sends the old row -1, the new row +1. State is read and
//! written once a group and epoch, not once a row.
//!
//! A join meets each chunk at once with what the other side holds, and keeps the rows of both, by join key: those of the
//! keys used last in memory, all in state. Subqueries are joins by the time they are lowered.
//!
//! A sink into a table is no job: its plan becomes a further input of the table's job, which starts again with it.
//!
//! A `SELECT` pins the last complete epoch, plans with DataFusion over tables whose scans read [`state`] at it, and
//! releases the pin when the scans are done.
//!
//! A `SUBSCRIBE` reads a snapshot at the last commit, then the table's change log, which each commit writes with its pages.
//!
//! # Where state is
//!
//! A state table is an ordered map from encoded keys to rows. What is sealed but not yet committed are *runs*; a commit
//! folds them into *pages*, columnar stretches of keys, and gives all pages of all tables to the backend as one batch,
//! with the catalog and the positions. Two backends: sled, and memory with a snapshot at each checkpoint.
//!
//! ```text
//! data folder: LOCK | state/ (pages, catalog, epoch record) | log/<id>/ (a durable log a table or source)
//! ```
//!
//! # Ranks
//!
//! A module uses only modules of lower rank; peers of one rank do not import each other. A test holds it.
//!
//! | rank | module | role |
//! |---|---|---|
//! | 10 | `main.rs` | settings, telemetry, opens the [`database`], serves it; `weir sql` |
//! | 9 | [`server`] | the Postgres wire; the only one to name pgwire. Knows no plans |
//! | 8 | [`database`] | the facade: opens, recovers, hands out sessions, shuts down; owns every component |
//! | 7 | [`session`] | one connection: variables, prepared statements; routes a statement |
//! | 6 | [`batch`] | reads: DataFusion over one complete epoch, the `weir.*` tables, `pg_catalog` |
//! | 6 | [`job`] | streaming jobs: creates, drops, recovers, restarts; turns a graph into actors |
//! | 5 | [`checkpoint`] | a pure coordinator, and the driver that does its timers and I/O |
//! | 4 | [`stream`] | the runtime: messages, alignment, exchanges, the actor loop, operators |
//! | 4 | [`planner`] | binds, lowers to a stream plan, cuts into fragments, explains; pure |
//! | 3 | [`plan`] | the narrow waist: stream nodes and fragments as plain data |
//! | 3 | [`sql`] | text to AST, window dialects |
//! | 3 | [`catalog`] | names to ids and definitions, as immutable snapshots |
//! | 3 | [`connector`] | sources and sinks, formats; one folder a system; knows no actor |
//! | 2 | [`log`] | the durable stream log |
//! | 2 | [`state`] | state tables, pages, the two backends, the commit; the only one to name sled |
//! | 2 | [`expr`] | expressions and aggregates on chunks, through DataFusion |
//! | 1 | [`types`] | chunks, ids, epochs, stored keys |
//! | 0 | [`common`] | errors, settings, failpoints, and the clock, which only it reads |
//!
//! # Deliberately absent
//!
//! - **Other servers.** No broker, no coordination service, no object store: one process, one folder.
//! - **Global state.** A [`database::Database`] owns everything; tests open several in one process.
//! - **Planning at recovery.** The fragment graph is stored with its operator and table ids; a new release that plans
//!   otherwise cannot misread old state.
//! - **Per-row work.** No operator has a method for a row, no expression is interpreted value by value.
//! - **A second query engine.** Streams and reads use the same DataFusion functions, so that a view and its query cannot
//!   disagree about what an expression means.
//! - **Transactions of several statements.** Each statement is atomic; `BEGIN` is accepted for the clients' sake.
//! - **Silent loss.** What cannot be read, evaluated or put into a window any more is in `weir.dead_letters` or
//!   `weir.late_rows`.

pub mod server;
pub mod database;
pub mod session;
pub mod batch;
pub mod job;
pub mod checkpoint;
pub mod stream;
pub mod planner;
pub mod sql;
pub mod catalog;
pub mod plan;
pub mod connector;
pub mod expr;
pub mod state;
pub mod log;
pub mod types;
pub mod common;
