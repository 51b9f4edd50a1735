//! What a bulk run emits next, and when.

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
    Stdin(Lines),
    Count(u64),
}

/// One of them.
pub(crate) struct Item {
    /// Counted from 1.
    pub(crate) number: u64,
    /// The line, where there are lines.
    pub(crate) line: Result<Option<String>, Failure>,
}

impl Input {
    pub(crate) fn new(emit: &Emit) -> Input {
        let source = match emit.count {
            Some(count) => Source::Count(count),
            None => Source::Stdin(Lines {
                stdin: BufReader::with_capacity(AT_A_TIME, tokio::io::stdin()),
                line: Vec::new(),
                too_long: false,
                broken: false,
            }),
        };
        Input { source, number: 0, interval: emit.interval, due: None }
    }

    /// The next one, when it is due. Nothing is lost when it is not waited for to the end.
    pub(crate) async fn next(&mut self) -> Option<Item> {
        if let Some(due) = self.due {
            tokio::time::sleep_until(due).await;
        }
        let line = match &mut self.source {
            Source::Count(count) => (self.number < *count).then_some(Ok(None))?,
            Source::Stdin(lines) => lines.next().await?.map(Some),
        };
        self.number += 1;
        self.due = self.interval.map(|interval| Instant::now() + interval);
        Some(Item { number: self.number, line })
    }
}

struct Lines {
    stdin: BufReader<Stdin>,
    /// The line so far.
    line: Vec<u8>,
    too_long: bool,
    /// It cannot be read any more.
    broken: bool,
}

impl Lines {
    async fn next(&mut self) -> Option<Result<String, Failure>> {
        while !self.broken {
            let read = match self.stdin.fill_buf().await {
                Ok(read) => read,
                Err(error) => {
                    self.broken = true;
                    return Some(Err(Failure::new(code::FAILED, "cannot read stdin").cause(error)));
                }
            };
            if read.is_empty() {
                return (!self.line.is_empty()).then(|| self.end());
            }
            let end = read.iter().position(|byte| *byte == b'\n');
            let part = read.get(..end.unwrap_or(read.len())).unwrap_or_default();
            self.too_long |= self.line.len() + part.len() > LONGEST_LINE;
            if !self.too_long {
                self.line.extend_from_slice(part);
            }
            let taken = part.len() + usize::from(end.is_some());
            self.stdin.consume(taken);
            if end.is_some() {
                return Some(self.end());
            }
        }
        None
    }

    fn end(&mut self) -> Result<String, Failure> {
        let mut line = std::mem::take(&mut self.line);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if std::mem::take(&mut self.too_long) {
            return Err(Failure::usage(format!("longer than {LONGEST_LINE} bytes")));
        }
        String::from_utf8(line).map_err(|error| Failure::usage("not text").cause(error.utf8_error()))
    }
}
