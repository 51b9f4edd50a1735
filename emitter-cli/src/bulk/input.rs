//! What a bulk run emits next, and when.
//!
//! Lines are read in large blocks, and given out from there one after the other without a copy and without waiting:
//! [`Input::take`] until there is no more, then [`Input::wait`].

use std::time::Duration;

use tokio::{
    io::{AsyncBufReadExt, BufReader, Stdin},
    time::Instant,
};

use crate::{
    args::Emit,
    failure::{Failure, code},
};

/// So much is read at a time: each read is a hop to another thread and back.
const AT_A_TIME: usize = 256 << 10;

/// A longer line could not be sent anyway.
const LONGEST_LINE: usize = 16 << 20;

/// Lines of stdin, or just numbers.
pub(crate) struct Input {
    source: Source,
    number: u64,
    interval: Option<Duration>,
    /// The next one is not before this.
    due: Option<Instant>,
}

enum Source {
    Stdin(Box<Lines>),
    Count(u64),
}

/// One of them.
pub(crate) struct Item<'a> {
    /// Counted from 1.
    pub(crate) number: u64,
    /// The line, where there are lines.
    pub(crate) line: Result<Option<&'a str>, Failure>,
}

impl Input {
    pub(crate) fn new(emit: &Emit) -> Input {
        let source = match emit.count {
            Some(count) => Source::Count(count),
            None => Source::Stdin(Box::new(Lines::new())),
        };
        Input { source, number: 0, interval: emit.interval, due: None }
    }

    /// Waits until there is a next one and it is due, with `true`, or until there are no more, with `false`. Nothing is
    /// lost when it is not waited for to the end.
    pub(crate) async fn wait(&mut self) -> bool {
        // Nobody waits behind the last one.
        if matches!(self.source, Source::Count(count) if self.number == count) {
            return false;
        }
        if let Some(due) = self.due {
            tokio::time::sleep_until(due).await;
            self.due = None;
        }
        match &mut self.source {
            Source::Count(_) => true,
            Source::Stdin(lines) => lines.wait().await,
        }
    }

    /// The next one, if it is there and due.
    pub(crate) fn take(&mut self) -> Option<Item<'_>> {
        if self.due.is_some() {
            return None;
        }
        let line = match &mut self.source {
            Source::Count(count) => (self.number < *count).then_some(Ok(None))?,
            Source::Stdin(lines) => lines.take()?.map(Some),
        };
        self.number += 1;
        self.due = self.interval.map(|interval| Instant::now() + interval);
        Some(Item { number: self.number, line })
    }
}

struct Lines {
    stdin: BufReader<Stdin>,
    /// How much of what is buffered has been given out.
    given: usize,
    /// The line so far that does not end in what is buffered.
    begun: Vec<u8>,
    too_long: bool,
    /// What is in `begun` has been given out.
    ended: bool,
    /// There is no more to read, for this reason if there is one.
    over: Option<Option<Failure>>,
}

impl Lines {
    fn new() -> Lines {
        let stdin = BufReader::with_capacity(AT_A_TIME, tokio::io::stdin());
        Lines { stdin, given: 0, begun: Vec::new(), too_long: false, ended: false, over: None }
    }

    async fn wait(&mut self) -> bool {
        self.forget();
        loop {
            if let Some(failure) = &self.over {
                return failure.is_some() || self.has_begun();
            }
            let rest = self.stdin.buffer().get(self.given..).unwrap_or_default();
            if memchr::memchr(b'\n', rest).is_some() {
                return true;
            }
            let rest = rest.to_vec();
            self.append(&rest);
            self.stdin.consume(self.given + rest.len());
            self.given = 0;
            match self.stdin.fill_buf().await {
                Ok([]) => self.over = Some(None),
                Ok(_) => {}
                Err(error) => self.over = Some(Some(Failure::new(code::FAILED, "cannot read stdin").cause(error))),
            }
        }
    }

    /// The next line, if all of it is there.
    fn take(&mut self) -> Option<Result<&str, Failure>> {
        self.forget();
        let rest = self.stdin.buffer().get(self.given..).unwrap_or_default();
        match memchr::memchr(b'\n', rest) {
            Some(end) if !self.has_begun() => {
                let start = self.given;
                self.given += end + 1;
                return self.stdin.buffer().get(start..start + end).map(line);
            }
            Some(end) => {
                let part = rest.get(..end).unwrap_or_default().to_vec();
                self.append(&part);
                self.given += end + 1;
            }
            None if self.over.is_none() => return None,
            None if self.has_begun() => {}
            None => return self.over.as_mut()?.take().map(Err),
        }
        self.ended = true;
        if self.too_long { Some(Err(too_long())) } else { Some(line(&self.begun)) }
    }

    fn has_begun(&self) -> bool {
        !self.begun.is_empty() || self.too_long
    }

    fn append(&mut self, part: &[u8]) {
        self.too_long |= self.begun.len() + part.len() > LONGEST_LINE;
        if !self.too_long {
            self.begun.extend_from_slice(part);
        }
    }

    /// Drops what was given out.
    fn forget(&mut self) {
        if std::mem::take(&mut self.ended) {
            self.begun.clear();
            self.too_long = false;
        }
    }
}

fn too_long() -> Failure {
    Failure::usage(format!("longer than {LONGEST_LINE} bytes"))
}

fn line(bytes: &[u8]) -> Result<&str, Failure> {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| Failure::usage("not text").cause(error))
}
