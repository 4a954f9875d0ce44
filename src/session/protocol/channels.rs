//! LISTEN and UNLISTEN where channels are each tenant's own: heard by one connection for all sessions
//! ([`Notifications`](crate::control::Notifications)), so that no server connection stays with a client that listens.
//!
//! A channel is heard before its LISTEN goes out, so that nothing is missed that is notified once LISTEN has taken effect. What
//! does take effect is the server's to say: its statement leaves a *mark* on the server connection, as LISTEN would, undone by
//! ROLLBACK and ROLLBACK TO; when the transaction is over the server is asked which marks are there, and they are removed.

use std::collections::BTreeMap;
use std::task::{self, Poll};

use super::not_ready::NotReady;
use super::parts::Context;
use super::replies::{Disposition, InternalQuery, Kind, Run, Subject};
use super::server_bytes::Broken;
use super::{Batch, HIGH_WATER, Intake, Session, Wait};
use crate::base::{PgError, SqlState};
use crate::control::Listener;
use crate::guard::{ChannelName, ChannelSpace, Effect, Guarded, Listening, Plan, Protocol, StatementKind};
use crate::wire::encode::{backend, frontend};

/// A session listens on so many channels at most: the server looks through all that are listened on for each notification.
const MAX_CHANNELS: usize = 64;
/// Statements about channels in one transaction, at most.
const MAX_MARKS: usize = 1_000;

const QUESTION: &str = "SELECT c FROM pg_catalog.pg_listening_channels() AS c; UNLISTEN *";
/// Stands in for UNLISTEN where there is nothing to be undone.
const NOTHING: &str = "UNLISTEN *";

/// What a session listens on.
pub(super) struct Channels {
    listener: Listener,
    /// Channels that are heard, by their names on the server, with the client's for those that it listens on.
    heard: BTreeMap<Box<str>, Option<String>>,
    /// What was sent, in order: what of it took effect is not known yet.
    sent: Vec<Mark>,
    /// The transaction may have ended since the last ReadyForQuery.
    ended: bool,
}

struct Mark {
    name: String,
    /// Of LISTEN and UNLISTEN of one channel.
    channel: Option<Box<str>>,
    what: Listening,
}

impl Mark {
    /// Without a space, in a session that acts for several tenants, it is none that matters; but it is there.
    fn new(what: &Listening, space: Option<&ChannelSpace>) -> Self {
        let channel = match (what, space) {
            (Listening::Start(name) | Listening::Stop(name), Some(space)) => {
                Some(ChannelName::Channel.of(space, name).into())
            }
            (Listening::Start(_) | Listening::Stop(_) | Listening::StopAll, _) => None,
        };
        let name = space.map(|space| what.mark(space)).unwrap_or_default();
        Self { name, channel, what: what.clone() }
    }

    /// Whether one undoes what the other does.
    fn contradicts(&self, other: &Mark) -> bool {
        let starts = |mark: &Mark| matches!(mark.what, Listening::Start(_));
        let same = self.channel.is_none() || other.channel.is_none() || self.channel == other.channel;
        same && starts(self) != starts(other)
    }
}

impl Context {
    fn channels(&mut self) -> &mut Channels {
        self.channels.get_or_insert_with(|| {
            let listener = self.backend.notifications.listener();
            Box::new(Channels { listener, heard: BTreeMap::new(), sent: Vec::new(), ended: false })
        })
    }
}

impl Session {
    /// Before a text is sent: what it listens on is heard.
    pub(super) fn settle_channels(&mut self, guarded: &Guarded, protocol: Protocol<'_>) -> Result<(), NotReady> {
        let marks_it = has_marks(guarded) && !(protocol == Protocol::Simple && self.undoes_nothing(guarded));
        if !marks_it && self.is_unmarked() {
            return Ok(());
        }
        self.check_ends(guarded)?;
        guarded.plans().iter().flat_map(|plan| marks(plan)).try_for_each(|what| self.settle_mark(what))
    }

    /// A transaction that ends with others behind it in one message would go on with marks on its connection.
    fn check_ends(&mut self, guarded: &Guarded) -> Result<(), NotReady> {
        let ends = |plan: &Plan| plan.kind == StatementKind::Transaction;
        let among_others = guarded.plans().len() > 1 && guarded.plans().iter().any(|plan| ends(plan));
        let ended = self.context.channels.as_ref().is_some_and(|it| it.ended);
        if among_others || (ended && self.server.batch == Batch::Open) {
            let message =
                "LISTEN and UNLISTEN are not supported in one message with what ends their transaction and goes on";
            return Err(PgError::error(SqlState::FEATURE_NOT_SUPPORTED, message)
                .hint("Send COMMIT in a message of its own, followed by Sync.")
                .into());
        }
        Ok(())
    }

    fn settle_mark(&mut self, what: &Listening) -> Result<(), NotReady> {
        let mark = Mark::new(what, self.channel_space().as_ref());
        let sent = self.context.channels.as_ref().map_or(&[][..], |it| &it.sent);
        // Which came last could not be told if parts of the transaction were undone.
        let before = sent.iter().position(|known| known.name == mark.name);
        let unclear = before.is_some_and(|at| sent.iter().skip(at).any(|later| later.contradicts(&mark)));
        if unclear || sent.len() >= MAX_MARKS {
            let message = "LISTEN and UNLISTEN of the same channel several times in one transaction are not supported";
            return Err(PgError::error(SqlState::FEATURE_NOT_SUPPORTED, message).into());
        }
        let Listening::Start(_) = &mark.what else { return Ok(()) };
        if self.context.switching.is_some() {
            let message = "LISTEN is not supported in a session that acts for several tenants";
            return Err(PgError::error(SqlState::FEATURE_NOT_SUPPORTED, message)
                .hint("Name the tenant when connecting: then the session is that tenant's.")
                .into());
        }
        let Some(channel) = mark.channel.as_deref() else {
            let message = "the tenant has no key that its channels could be told by";
            return Err(PgError::error(SqlState::INSUFFICIENT_PRIVILEGE, message).into());
        };
        let channels = self.context.channels();
        if channels.heard.contains_key(channel) {
            return Ok(());
        }
        if channels.heard.len() >= MAX_CHANNELS {
            let message = format!("a session may listen on {MAX_CHANNELS} channels at one time");
            return Err(PgError::error(SqlState::PROGRAM_LIMIT_EXCEEDED, message).into());
        }
        let joining = channels.listener.joining(channel);
        self.server.settle()?;
        Err(Wait::Listen(Box::new(joining)).into())
    }

    fn channel_space(&self) -> Option<ChannelSpace> {
        ChannelSpace::of(&self.context.backend.mode, &self.env.keys).filter(|_| self.context.switching.is_none())
    }

    /// The server listens on a channel.
    pub fn hears(&mut self, channel: &str) {
        if let Some(channels) = self.context.channels.as_mut() {
            channels.heard.entry(channel.into()).or_default();
        }
    }

    /// Whether a text's UNLISTEN has nothing to undo: in a Query something else stands in for it.
    pub(super) fn undoes_nothing(&self, guarded: &Guarded) -> bool {
        self.context.channels.is_none() && !starts(guarded)
    }

    /// Notes that a text was sent which leaves marks, or may end the transaction that did. Nothing follows before the outcome
    /// is known.
    pub(super) fn record_channels(&mut self, guarded: &Guarded) {
        if self.context.channels.is_none() && !has_marks(guarded) {
            return;
        }
        let space = if has_marks(guarded) { self.channel_space() } else { None };
        let channels = self.context.channels();
        for plan in guarded.plans() {
            for what in marks(plan) {
                let mark = Mark::new(what, space.as_ref());
                if !channels.sent.iter().any(|known| known.name == mark.name) {
                    channels.sent.push(mark);
                }
            }
            channels.ended |= plan.kind == StatementKind::Transaction && !channels.sent.is_empty();
        }
        let waits = !channels.sent.is_empty();
        self.hold_if(waits);
    }

    /// ReadyForQuery has come: what it says of the transaction is known.
    pub(super) fn channels_heard_out(&mut self) {
        if let Some(channels) = self.context.channels.as_mut() {
            channels.ended = false;
        }
    }

    /// Whether no mark is on the server connection.
    pub(super) fn is_unmarked(&self) -> bool {
        self.context.channels.as_ref().is_none_or(|it| it.sent.is_empty())
    }

    /// A transaction has ended in which marks were left: which are there?
    pub(super) fn ask_for_channels(&mut self) {
        if self.is_unmarked() || self.server.link.is_none() || frontend::query(&mut self.server.out, QUESTION).is_err()
        {
            return;
        }
        self.server.forget_unnamed();
        let internal = InternalQuery::Channels(Vec::new());
        self.server.replies.push(Kind::Query(Run::new(Subject::None)), Disposition::Swallow(internal));
        self.hold_if(true);
    }

    /// A row of the answer.
    pub(super) fn on_channels_row(marks: &mut Vec<String>, values: &[Option<&[u8]>]) -> Result<(), Broken> {
        let mark = values.first().copied().flatten().ok_or_else(|| Broken::unexpected(b'D'))?;
        marks.push(String::from_utf8_lossy(mark).into_owned());
        Ok(())
    }

    /// The answer is whole.
    pub(super) fn channels_known(&mut self, there: &[String], failed: bool) {
        let Some(channels) = self.context.channels.as_mut() else { return };
        if failed {
            self.server.poison();
            let message = "the server did not tell what has become of LISTEN";
            return self.fail(&PgError::fatal(SqlState::CONNECTION_FAILURE, message));
        }
        let Channels { listener, heard, sent, .. } = channels.as_mut();
        for mark in std::mem::take(sent).into_iter().filter(|mark| there.contains(&mark.name)) {
            match (mark.what, mark.channel) {
                (Listening::Start(name), Some(channel)) => drop(heard.insert(channel, Some(name))),
                (Listening::Stop(_), Some(channel)) => drop(heard.insert(channel, None)),
                (Listening::StopAll, _) => heard.values_mut().for_each(|name| *name = None),
                (Listening::Start(_) | Listening::Stop(_), None) => {}
            }
        }
        heard.retain(|channel, name| {
            if name.is_none() {
                listener.leave(channel);
            }
            name.is_some()
        });
        if heard.is_empty() {
            self.context.channels = None;
        }
    }

    /// Nothing is listened on any more: DISCARD ALL.
    pub(super) fn forget_channels(&mut self) {
        self.context.channels = None;
    }

    /// Between transactions: gives the client what was heard. Returns whether anything has changed.
    pub fn poll_notifications(&mut self, cx: &task::Context<'_>) -> bool {
        let idle = self.between_transactions() && self.client.intake == Intake::Open;
        let Some(channels) = self.context.channels.as_ref().filter(|it| idle && it.sent.is_empty()) else {
            return false;
        };
        let (before, mut lost) = (self.client.out.len(), None);
        while self.client.out.len() < HIGH_WATER || channels.listener.is_over(cx) {
            match channels.listener.poll(cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(heard)) => {
                    let Some(Some(name)) = channels.heard.get(heard.channel()) else { continue };
                    // What came in a message of the same kind can be written.
                    let _ =
                        backend::notification_response(&mut self.client.out, heard.process_id(), name, heard.payload());
                }
                Poll::Ready(Err(error)) => {
                    lost = Some(error);
                    break;
                }
            }
        }
        self.stats.moved(0, self.client.out.len() - before);
        if let Some(error) = &lost {
            self.fail(error);
        }
        lost.is_some() || self.client.out.len() > before
    }
}

/// The command tag of a statement whose mark is a LISTEN.
pub(super) fn tag_of_mark(plan: &Plan) -> Option<&'static str> {
    match marks(plan).next()? {
        Listening::Start(_) => None,
        Listening::Stop(_) | Listening::StopAll => Some("UNLISTEN"),
    }
}

/// What stands in for a statement that has nothing to undo.
pub(super) fn stand_in(guarded: &Guarded, i: usize) -> Option<&'static str> {
    guarded.plans().get(i).filter(|plan| marks(plan).next().is_some()).map(|_| NOTHING)
}

/// The command tags of a Query, with those of its marks.
pub(super) fn with_tags_of_marks(
    guarded: &Guarded,
    tag: Option<&'static str>,
    tags: Box<[Option<&'static str>]>,
) -> (Option<&'static str>, Box<[Option<&'static str>]>) {
    match guarded.plans() {
        [plan] => (tag.or_else(|| tag_of_mark(plan)), tags),
        plans if has_marks(guarded) => {
            let known = |i: usize| tags.get(i).copied().flatten();
            (tag, plans.iter().enumerate().map(|(i, plan)| known(i).or_else(|| tag_of_mark(plan))).collect())
        }
        _ => (tag, tags),
    }
}

fn marks(plan: &Plan) -> impl Iterator<Item = &Listening> {
    plan.effects.iter().filter_map(|effect| if let Effect::Listens(what) = effect { Some(what) } else { None })
}

fn has_marks(guarded: &Guarded) -> bool {
    guarded.plans().iter().any(|plan| marks(plan).next().is_some())
}

fn starts(guarded: &Guarded) -> bool {
    guarded.plans().iter().flat_map(|plan| marks(plan)).any(|what| matches!(what, Listening::Start(_)))
}
