//! The tests that run the whole: the real binary over the wire, and the rules of the sources. One binary, because each
//! one links all of DataFusion.

mod auth;
mod background;
mod bounded;
mod catalogue;
mod client;
mod compare;
mod copy;
mod crash;
mod driver;
mod examples;
mod failure;
mod faults;
mod fuzz;
mod layers;
mod lookup;
mod nexmark;
mod oracle;
mod postgres;
mod psql;
mod secrets;
mod seed;
mod server;
mod slt;
mod spill;
mod subscribe;
mod tcp;
mod temporary;
mod tls;
mod tpch;
