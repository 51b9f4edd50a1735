//! What all servers said, and how many said nothing.

/// What came back from a question to all servers, and how many did not answer.
///
/// A short answer is never shown as whole: look at [`missing`](Answers::missing), or ask
/// [`complete`](Answers::complete) to treat it as an error.
///
/// ```
/// use socketio_protocol::cluster::Answers;
///
/// let counts = Answers { received: vec![3, 4], asked: 3, missing: 1 };
/// assert_eq!(counts.total(), 7);
/// assert_eq!(counts.len(), 2, "it is a list of what came");
/// assert_eq!(counts.complete().unwrap_err().to_string(), "timeout reached: only 2 responses received out of 3");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Answers<T> {
    /// What came.
    pub received: Vec<T>,
    /// How many servers were asked, this one included if it answers too.
    pub asked: usize,
    /// How many of them did not answer in time.
    pub missing: usize,
}

/// Not all servers answered in time.
///
/// ```
/// use socketio_protocol::cluster::{Answers, MissingAnswers};
///
/// let answers = Answers { received: vec!["red"], asked: 2, missing: 1 };
/// assert_eq!(answers.complete(), Err(MissingAnswers { received: 1, asked: 2 }));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("timeout reached: only {received} responses received out of {asked}")]
pub struct MissingAnswers {
    /// How many answered.
    pub received: usize,
    /// How many were asked.
    pub asked: usize,
}

impl<T> Answers<T> {
    /// What came, if every server answered.
    ///
    /// # Errors
    ///
    /// [`MissingAnswers`] if not.
    pub fn complete(self) -> Result<Vec<T>, MissingAnswers> {
        match self.missing {
            0 => Ok(self.received),
            missing => Err(MissingAnswers { received: self.asked.saturating_sub(missing), asked: self.asked }),
        }
    }

    /// The same answers as another type.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Answers<U> {
        Answers { received: self.received.into_iter().map(f).collect(), asked: self.asked, missing: self.missing }
    }
}

impl Answers<u64> {
    /// The sum of what came; the largest number where it is larger than that.
    pub fn total(&self) -> u64 {
        self.received.iter().fold(0_u64, |sum, count| sum.saturating_add(*count))
    }
}

/// The answers to several questions as those to one: all that came, and the servers counted once for each question.
impl<T> FromIterator<Answers<T>> for Answers<T> {
    fn from_iter<I: IntoIterator<Item = Answers<T>>>(all: I) -> Self {
        let none = Answers { received: Vec::new(), asked: 0, missing: 0 };
        all.into_iter().fold(none, |mut sum, one| {
            sum.received.extend(one.received);
            let (asked, missing) = (sum.asked.saturating_add(one.asked), sum.missing.saturating_add(one.missing));
            Answers { received: sum.received, asked, missing }
        })
    }
}

impl<T> std::ops::Deref for Answers<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.received
    }
}

impl<T> IntoIterator for Answers<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.received.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_that_is_too_large_is_the_largest_number() {
        let counts = Answers { received: vec![u64::MAX, u64::MAX], asked: usize::MAX, missing: usize::MAX };
        assert_eq!(counts.total(), u64::MAX);
        let twice: Answers<u64> = [counts.clone(), counts].into_iter().collect();
        assert_eq!((twice.asked, twice.missing), (usize::MAX, usize::MAX));
    }
}
