//! Takes the steps of a schedule, each on its client's own connection.
//!
//! When a step has been sent, the runner waits until nothing moves: every client has its answer or,
//! as the server says of it, waits for one who has the word. So what is written down depends on the
//! order of the steps alone, not on how fast anybody is.

use crate::observer::Observer;
use crate::outcome;
use crate::schedule::Step;
use std::collections::VecDeque;
use std::time::Duration;
use test_support::Stopwatch;
use test_support::speaker::{Message, Speaker};

/// How long anything may move. Longer than a lock is waited for.
const MOVES_MAX: Duration = Duration::from_secs(30);
/// How long an answer is awaited before the server is asked who waits.
const GLANCE: Duration = Duration::from_millis(5);

/// A server as the runner sees it: makes sessions of the schedule's database.
pub trait Subject {
    /// A new session.
    fn connect(&self) -> Speaker;
}

struct Client {
    name: String,
    speaker: Speaker,
    process: u32,
    /// The step that has no answer yet, and what of it has come.
    busy: Option<(Step, Vec<Message>)>,
    /// Its steps that it could not take, with their places in the schedule.
    later: VecDeque<(usize, Step)>,
}

impl Client {
    fn connect(subject: &dyn Subject, name: &str) -> Client {
        let mut speaker = subject.connect();
        let process = speaker.query("SELECT pg_backend_pid()");
        let process = process.trim_end_matches(';').parse().expect("a process");
        Client { name: name.to_owned(), speaker, process, busy: None, later: VecDeque::new() }
    }

    fn send(&mut self, step: Step) {
        self.speaker.send('Q', format!("{}\0", step.text).as_bytes());
        self.busy = Some((step, Vec::new()));
    }

    /// Takes what has come of the answer; the lines that show it, when it is complete.
    fn receive(&mut self) -> Option<Vec<String>> {
        let (_, messages) = self.busy.as_mut()?;
        while self.speaker.arrives(GLANCE) {
            let message = self.speaker.receive();
            let is_last = message.as_ref().is_none_or(|message| message.kind == 'Z');
            messages.extend(message);
            if is_last {
                let (step, messages) = self.busy.take()?;
                return Some(outcome::lines(&step.text, &messages));
            }
        }
        None
    }
}

/// Runs a schedule.
pub struct Runner<'a> {
    subject: &'a dyn Subject,
    observer: Observer,
    clients: Vec<Client>,
    /// Clients that wait, in the order in which they began to.
    waiting: Vec<usize>,
    transcript: Vec<String>,
}

/// What comes of `steps`, line by line.
pub fn run(subject: &dyn Subject, steps: Vec<Step>) -> Result<Vec<String>, String> {
    let mut runner = Runner {
        subject,
        observer: Observer::new(subject.connect()),
        clients: Vec::new(),
        waiting: Vec::new(),
        transcript: Vec::new(),
    };
    let ended = runner.run(steps);
    ended.map_err(|error| format!("{error}, after\n{}", runner.transcript.join("\n")))?;
    Ok(runner.transcript)
}

impl Runner<'_> {
    fn run(&mut self, steps: Vec<Step>) -> Result<(), String> {
        for (place, step) in steps.into_iter().enumerate() {
            let at = self.client(&step.client);
            self.clients[at].later.push_back((place, step));
            while let Some((at, step)) = self.next() {
                self.take(at, step)?;
            }
        }
        match self.waiting.first() {
            Some(&at) => Err(format!("{} waits at the end", self.clients[at].name)),
            None => Ok(()),
        }
    }

    fn client(&mut self, name: &str) -> usize {
        if let Some(at) = self.clients.iter().position(|client| client.name == name) {
            return at;
        }
        self.clients.push(Client::connect(self.subject, name));
        self.clients.len() - 1
    }

    /// The first step that can be taken.
    fn next(&mut self) -> Option<(usize, Step)> {
        let free = self.clients.iter().enumerate().filter(|(_, client)| client.busy.is_none());
        let next = free.filter_map(|(at, client)| Some((client.later.front()?.0, at)));
        let (_, at) = next.min()?;
        let (_, step) = self.clients[at].later.pop_front()?;
        Some((at, step))
    }

    fn take(&mut self, at: usize, step: Step) -> Result<(), String> {
        self.transcript.push(format!("{}: {}", self.clients[at].name, step.text));
        self.clients[at].send(step);
        let mut answered = self.settle()?;
        match take_of(&mut answered, at) {
            Some(lines) => self.show(lines),
            None => {
                self.show(vec!["waits".to_owned()]);
                self.waiting.push(at);
            }
        }
        for at in self.waiting.clone() {
            if let Some(lines) = take_of(&mut answered, at) {
                self.waiting.retain(|waiting| *waiting != at);
                self.transcript.push(format!("{} goes on", self.clients[at].name));
                self.show(lines);
            }
        }
        Ok(())
    }

    fn show(&mut self, lines: Vec<String>) {
        self.transcript.extend(lines.into_iter().map(|line| format!("  {line}")));
    }

    /// Waits until nothing moves. The answers that have come, with their clients.
    fn settle(&mut self) -> Result<Vec<(usize, Vec<String>)>, String> {
        let since = Stopwatch::start();
        let mut answered = Vec::new();
        loop {
            for (at, client) in self.clients.iter_mut().enumerate() {
                answered.extend(client.receive().map(|lines| (at, lines)));
            }
            if self.clients.iter().all(|client| client.busy.is_none()) {
                return Ok(answered);
            }
            let view = self.observer.look();
            let is_stuck = |client: &Client| match &client.busy {
                Some((step, _)) => !step.ends_by_itself && view.is_stuck(client.process),
                None => true,
            };
            if self.clients.iter().all(is_stuck) {
                return Ok(answered);
            }
            if since.elapsed() > MOVES_MAX {
                let names = self.clients.iter().map(|client| (&client.name, client.process));
                let names: Vec<_> = names.collect();
                return Err(format!("it still moves: {names:?} in {view:?}"));
            }
        }
    }
}

fn take_of(answered: &mut Vec<(usize, Vec<String>)>, at: usize) -> Option<Vec<String>> {
    let found = answered.iter().position(|(client, _)| *client == at)?;
    Some(answered.swap_remove(found).1)
}
