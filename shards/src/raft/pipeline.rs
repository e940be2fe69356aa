//! A leader's appends to one replica: several are on their way before the first is answered.
//!
//! ```text
//!   openraft's appends ─► as many as have room ─► sent in order ─► the replica takes them in order
//!   what became of each ◄── in order, the first failure ends it ◄───┘
//! ```
//!
//! # What is decided
//!
//! Each append says how far the log is decided. Where there are no entries to go with it, openraft makes an
//! append without any. It is asked for such a one only where nothing is on its way, and the append then waits
//! for [`TELL_WITHIN`]: under load the next entries are there before, and say the same.
//!
//! # Leases
//!
//! Of an answer openraft concludes that the replica was heard since the newest append was *made* that ends
//! with the same entry, answered or not, and a leader's lease counts from there. An append without entries
//! ends where the one before it does. So an answer is passed on only where no append behind it ends with the
//! same entry, or has taken the place of one that does: the answer to that one says the same and proves it.

#[cfg(test)]
mod tests;

use super::types::{LogId, Partitions};
use futures::future::{FutureExt, LocalBoxFuture};
use futures::stream::{FuturesOrdered, Stream, StreamExt};
use openraft::EntryPayload;
use openraft::errors::{NetworkError, RPCError};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, StreamAppendResult,
};
use runtime::sync::{Notified, Notify};
use runtime::time::{self, Sleep};
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Appends that are on their way to a replica at a time.
const UNDER_WAY_MAX: usize = 8;

/// While so many bytes of commands are on their way to a replica no more are sent.
const BYTES_MAX: usize = 1 << 20;

/// A replica hears within so long what is decided, if it hears nothing else.
const TELL_WITHIN: Duration = Duration::from_millis(5);

type Append = AppendEntriesRequest<Partitions>;
type Answer = Result<AppendEntriesResponse<Partitions>, RPCError<Partitions>>;
/// What openraft is told.
type Taken = Result<StreamAppendResult<Partitions>, RPCError<Partitions>>;

/// The end of the leader's log.
pub(super) trait LogEnd {
    /// Its last entry.
    fn last(&self) -> Option<LogId>;

    /// Tells all who wait that there are more.
    fn grown(&self) -> Notify;
}

/// An append that is not answered.
struct UnderWay {
    before: Option<LogId>,
    last: Option<LogId>,
    bytes: usize,
    /// One without entries was to be sent before it, and is not.
    stands_for_two: bool,
}

impl UnderWay {
    fn of(append: &Append) -> UnderWay {
        let bytes = append.entries.iter().map(|entry| match &entry.payload {
            EntryPayload::Normal(batch) => batch.commands.len(),
            EntryPayload::Blank | EntryPayload::Membership(_) => 0,
        });
        UnderWay {
            before: append.prev_log_id,
            last: last_of(append),
            bytes: bytes.sum(),
            stands_for_two: false,
        }
    }

    /// Whether its answer says what one that ends with `last` would.
    fn answers_for(&self, last: Option<LogId>) -> bool {
        self.last == last || (self.stands_for_two && self.before == last)
    }
}

fn last_of(append: &Append) -> Option<LogId> {
    append.entries.last().map(|entry| entry.log_id).or(append.prev_log_id)
}

/// What becomes of a stream of appends. It ends with the first that was not taken.
pub(super) struct Pipeline<'s, A, S, L> {
    /// `None`: there are no more.
    appends: Option<A>,
    send: S,
    log: L,
    grown: Notified,
    /// The last entry of the appends that were made.
    made_to: Option<LogId>,
    /// One without entries, until when it waits.
    waits: Option<(Append, Sleep)>,
    /// Oldest first.
    under_way: VecDeque<UnderWay>,
    bytes: usize,
    answers: FuturesOrdered<LocalBoxFuture<'s, Answer>>,
    /// The replica has taken one.
    has_taken: bool,
}

impl<'s, A, S, L> Pipeline<'s, A, S, L>
where
    A: Stream<Item = Append> + Unpin,
    S: Fn(Append) -> LocalBoxFuture<'s, Answer> + Unpin,
    L: LogEnd + Unpin,
{
    /// What `send` gives is polled first in the order of the appends.
    pub(super) fn new(appends: A, send: S, log: L) -> Pipeline<'s, A, S, L> {
        Pipeline {
            appends: Some(appends),
            send,
            grown: log.grown().notified(),
            log,
            made_to: None,
            waits: None,
            under_way: VecDeque::new(),
            bytes: 0,
            answers: FuturesOrdered::new(),
            has_taken: false,
        }
    }

    /// Whether the next append may be made now.
    fn has_room(&self) -> bool {
        match self.under_way.len() {
            0 => true,
            UNDER_WAY_MAX.. => false,
            _ => self.bytes < BYTES_MAX && self.log.last() > self.made_to,
        }
    }

    /// Sends what there is, as far as there is room.
    fn send_on(&mut self, cx: &mut Context<'_>) {
        // Before the log is looked at.
        while self.grown.poll_unpin(cx).is_ready() {
            self.grown = self.log.grown().notified();
        }
        while self.has_room()
            && let Some(appends) = &mut self.appends
        {
            match appends.poll_next_unpin(cx) {
                Poll::Ready(Some(append)) => self.made(append),
                Poll::Ready(None) => self.appends = None,
                Poll::Pending => break,
            }
        }
        let due = self.waits.as_mut().map(|(_, until)| until.poll_unpin(cx).is_ready());
        if due.is_some_and(|due| due || self.appends.is_none())
            && let Some((append, _)) = self.waits.take()
        {
            self.send(append, false);
        }
    }

    fn made(&mut self, append: Append) {
        self.made_to = last_of(&append);
        let waits = self.waits.take();
        match append.entries.is_empty() {
            true => {
                let until = waits.map(|(_, until)| until);
                let until = until.unwrap_or_else(|| time::sleep(TELL_WITHIN));
                self.waits = Some((append, until));
            }
            false => self.send(append, waits.is_some()),
        }
    }

    fn send(&mut self, append: Append, stands_for_two: bool) {
        let under_way = UnderWay { stands_for_two, ..UnderWay::of(&append) };
        self.bytes += under_way.bytes;
        self.under_way.push_back(under_way);
        self.answers.push_back((self.send)(append));
    }

    /// What the answer to the oldest append says, if it is to be passed on.
    fn answered(&mut self, answer: Answer) -> Option<Taken> {
        let UnderWay { before, last, bytes, .. } = self.under_way.pop_front()?;
        self.bytes -= bytes;
        let taken = answer.map(|answer| answer.into_stream_result(before, last));
        match &taken {
            Ok(Ok(matching)) if *matching == last => {
                self.has_taken = true;
                let follows = self.under_way.front().is_some_and(|next| next.answers_for(last));
                let waits = self.waits.as_ref().is_some_and(|(next, _)| last_of(next) == last);
                (!follows && !waits).then_some(taken)
            }
            // It has taken the entry before: something was lost or overtaken on the way, which is no word
            // about its log.
            Ok(Err(StreamAppendError::Conflict(_))) if self.has_taken => {
                self.end();
                let error = NetworkError::<Partitions>::from_string("an append was overtaken");
                Some(Err(error.into()))
            }
            Ok(_) | Err(_) => {
                self.end();
                Some(taken)
            }
        }
    }

    /// Nobody waits for what is on its way.
    fn end(&mut self) {
        self.appends = None;
        self.waits = None;
        self.under_way.clear();
        self.answers = FuturesOrdered::new();
    }
}

impl<'s, A, S, L> Stream for Pipeline<'s, A, S, L>
where
    A: Stream<Item = Append> + Unpin,
    S: Fn(Append) -> LocalBoxFuture<'s, Answer> + Unpin,
    L: LogEnd + Unpin,
{
    type Item = Taken;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Taken>> {
        loop {
            self.send_on(cx);
            match self.answers.poll_next_unpin(cx) {
                Poll::Ready(Some(answer)) => {
                    if let Some(taken) = self.answered(answer) {
                        return Poll::Ready(Some(taken));
                    }
                }
                Poll::Ready(None) if self.appends.is_none() => return Poll::Ready(None),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}
