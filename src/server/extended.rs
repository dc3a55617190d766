//! The extended protocol: statements that are parsed once, bound to parameters, and executed in steps.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::scalar::ScalarValue;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{BindComplete, CloseComplete, ParseComplete, PortalSuspended};
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse};

use super::backend::BackendSession;
use super::connection::Connection;
use super::copy::CopyingIn;
use super::encode::{Format, RowEncoder, pg_type};
use super::error::{Fault, violation};
use super::frontend::{Bind, Target};
use super::params;
use super::rows::{Rows, Sent};
use crate::common::{Error, ErrorKind, Result};
use crate::session::{Prepared, Response, TransactionStatus};

/// What a connection has parsed and bound. The unnamed ones are under the empty name.
#[derive(Default)]
pub struct Named {
    statements: HashMap<String, Arc<ParsedStatement>>,
    portals: HashMap<String, Portal>,
}

struct ParsedStatement {
    /// `None` for an empty statement.
    prepared: Option<Prepared>,
    /// The types that ParameterDescription tells.
    parameter_oids: Vec<u32>,
    /// Of its rows, as text; `None` when it returns none.
    encoder: Option<RowEncoder>,
}

struct Portal {
    statement: Arc<ParsedStatement>,
    parameters: Vec<ScalarValue>,
    /// Of its rows; `None` when it returns none.
    encoder: Option<RowEncoder>,
    state: PortalState,
}

enum PortalState {
    Bound,
    Running(Rows),
    /// With the tag that another Execute gets.
    Done(String),
}

impl<S: BackendSession> Connection<S> {
    /// A simple query ends the unnamed statement and portal.
    pub(super) fn forget_unnamed(&mut self) {
        self.named.statements.remove("");
        self.named.portals.remove("");
    }

    /// An error ends the transaction, and what was bound in it.
    pub(super) fn drop_portals(&mut self) {
        self.named.portals.clear();
    }

    /// Portals live as long as their transaction; outside a block that is until Sync.
    pub(super) fn end_portals(&mut self) {
        if self.session.transaction_status() == TransactionStatus::Idle {
            self.named.portals.clear();
        }
    }

    pub(super) async fn parse(&mut self, name: String, sql: &str, types: &[u32]) -> Result<(), Fault> {
        if name.is_empty() {
            self.named.statements.remove("");
        } else if self.named.statements.contains_key(&name) {
            return Err(Error::new(
                ErrorKind::DuplicatePreparedStatement,
                format!("prepared statement {name:?} already exists"),
            )
            .into());
        }
        let mut parsed = self.session.parse(sql)?;
        if parsed.len() > 1 {
            return Err(Error::new(ErrorKind::Syntax, "cannot insert multiple commands into a prepared statement")
                .with_hint("send them one by one, or as one simple query")
                .into());
        }
        let statement = match parsed.pop() {
            None => ParsedStatement { prepared: None, parameter_oids: Vec::new(), encoder: None },
            Some(statement) => {
                let declared = types.iter().map(|oid| params::declared(*oid)).collect::<Result<Vec<_>>>()?;
                self.begin();
                let prepared = self.session.prepare(statement, &declared).await?;
                let parameter_oids = parameter_oids(&prepared, types)?;
                let encoder = prepared.columns.as_ref().map(|columns| RowEncoder::new(columns, &[])).transpose()?;
                ParsedStatement { prepared: Some(prepared), parameter_oids, encoder }
            }
        };
        self.named.statements.insert(name, Arc::new(statement));
        self.writer.send(&ParseComplete::new())?;
        Ok(())
    }

    pub(super) fn bind(&mut self, bind: Bind) -> Result<()> {
        let Some(statement) = self.named.statements.get(&bind.statement).cloned() else {
            return Err(unknown_statement(&bind.statement));
        };
        if !bind.portal.is_empty() && self.named.portals.contains_key(&bind.portal) {
            return Err(Error::new(ErrorKind::DuplicateCursor, format!("portal {:?} already exists", bind.portal)));
        }
        let expected = statement.prepared.as_ref().map_or(&[][..], |p| &p.parameters);
        if expected.len() != bind.values.len() {
            return Err(violation(format!(
                "bind message supplies {} parameters, but prepared statement {:?} requires {}",
                bind.values.len(),
                bind.statement,
                expected.len()
            )));
        }
        let formats = Format::spread(&bind.formats, bind.values.len())?;
        let styles = self.session.styles();
        let mut parameters = Vec::with_capacity(expected.len());
        for (i, ((value, format), (field, oid))) in
            bind.values.iter().zip(formats).zip(expected.iter().zip(&statement.parameter_oids)).enumerate()
        {
            let parameter = params::value(value.as_ref(), *oid, format, field.data_type(), &styles)
                .map_err(|e| e.context(format!("parameter ${}", i + 1)))?;
            parameters.push(parameter);
        }
        let encoder = statement.encoder.as_ref().map(|e| e.in_formats(&bind.result_formats)).transpose()?;
        let portal = Portal { statement, parameters, encoder, state: PortalState::Bound };
        self.named.portals.insert(bind.portal, portal);
        self.writer.send(&BindComplete::new())
    }

    pub(super) fn describe(&mut self, target: Target, name: &str) -> Result<()> {
        let encoder = match target {
            Target::Statement => {
                let statement = self.named.statements.get(name).ok_or_else(|| unknown_statement(name))?;
                self.writer.send(&ParameterDescription::new(statement.parameter_oids.clone()))?;
                statement.encoder.clone()
            }
            Target::Portal => match (self.named.portals.get(name), self.session.cursor_columns(name)) {
                (Some(portal), _) => portal.encoder.clone(),
                // To PostgreSQL a cursor is a portal.
                (None, Ok(columns)) => Some(RowEncoder::new(&columns, &[])?),
                (None, Err(_)) => return Err(unknown_portal(name)),
            },
        };
        match encoder {
            Some(encoder) => encoder.describe(&mut self.writer),
            None => self.writer.send(&NoData::new()),
        }
    }

    /// `max_rows` of 0 or below means all.
    pub(super) async fn execute(&mut self, name: &str, max_rows: i32) -> Result<(), Fault> {
        let token = self.begin();
        let portal = self.named.portals.get_mut(name).ok_or_else(|| unknown_portal(name))?;
        if let PortalState::Bound = portal.state {
            let Some(prepared) = &portal.statement.prepared else {
                self.writer.send(&EmptyQueryResponse::new())?;
                return Ok(());
            };
            portal.state = match self.session.execute(&prepared.statement, &portal.parameters).await? {
                Response::Rows { tag, stream } => {
                    let schema = stream.schema();
                    match &portal.encoder {
                        Some(encoder) if encoder.has_described(&schema)? => {
                            let encoder = encoder.clone().in_styles(self.session.styles());
                            PortalState::Running(Rows::new(tag, stream, encoder))
                        }
                        _ => {
                            return Err(Error::not_supported(
                                "the result's columns changed since the statement was prepared",
                            )
                            .with_hint("prepare it again")
                            .into());
                        }
                    }
                }
                Response::CopyIn { columns, binary } => {
                    let binary = self.begin_copy(&columns, binary).await?;
                    self.copying = Some(CopyingIn::new(token, None, binary));
                    return Ok(());
                }
                Response::CopyOut { stream, options } => {
                    let tag = self.copy_out(stream, &options, &token).await?;
                    self.tell_news()?;
                    self.writer.send(&CommandComplete::new(tag.clone()))?;
                    return self.finish(name, tag);
                }
                Response::Done(tag) => {
                    self.tell_news()?;
                    self.writer.send(&CommandComplete::new(tag.clone()))?;
                    return self.finish(name, tag);
                }
                Response::Empty => {
                    self.writer.send(&EmptyQueryResponse::new())?;
                    return Ok(());
                }
            };
        }
        let portal = self.named.portals.get_mut(name).ok_or_else(|| unknown_portal(name))?;
        let limit = usize::try_from(max_rows).ok().filter(|n| *n > 0);
        match &mut portal.state {
            PortalState::Running(rows) => match rows.send(&mut self.writer, &token, limit).await? {
                Sent::Some => self.writer.send(&PortalSuspended::new())?,
                Sent::All(tag) => {
                    self.tell_news()?;
                    let verb = tag.rsplit_once(' ').map_or(tag.as_str(), |(verb, _)| verb);
                    let again = format!("{verb} 0");
                    self.writer.send(&CommandComplete::new(tag))?;
                    self.finish(name, again)?;
                }
            },
            PortalState::Done(tag) => self.writer.send(&CommandComplete::new(tag.clone()))?,
            PortalState::Bound => {}
        }
        Ok(())
    }

    fn finish(&mut self, name: &str, tag: String) -> Result<(), Fault> {
        // The statement may have ended its transaction, and the portal with it.
        if let Some(portal) = self.named.portals.get_mut(name) {
            portal.state = PortalState::Done(tag);
        }
        Ok(())
    }

    /// Closing what does not exist is no error.
    pub(super) fn close(&mut self, target: Target, name: &str) -> Result<()> {
        match target {
            Target::Statement => {
                if let Some(statement) = self.named.statements.remove(name) {
                    self.named.portals.retain(|_, portal| !Arc::ptr_eq(&portal.statement, &statement));
                }
            }
            Target::Portal => {
                self.named.portals.remove(name);
            }
        }
        self.writer.send(&CloseComplete::new())
    }
}

/// The types that the client declared, where it did; else those of the plan.
fn parameter_oids(prepared: &Prepared, declared: &[u32]) -> Result<Vec<u32>> {
    prepared
        .parameters
        .iter()
        .enumerate()
        .map(|(i, field)| match declared.get(i) {
            Some(oid) if params::declared(*oid)?.is_some() => Ok(*oid),
            _ => Ok(pg_type(field)?.oid),
        })
        .collect()
}

fn unknown_statement(name: &str) -> Error {
    Error::new(ErrorKind::UndefinedPreparedStatement, format!("prepared statement {name:?} does not exist"))
}

fn unknown_portal(name: &str) -> Error {
    Error::new(ErrorKind::UndefinedCursor, format!("portal {name:?} does not exist"))
}
