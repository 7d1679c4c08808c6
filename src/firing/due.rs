//! Which documents something is due on, in a bounded part of the memory.

use crate::error::Result;
use crate::store::Store;
use crate::time::Timestamp;

/// How many documents are kept in mind at once, however many are due.
const DOCUMENTS_AT_ONCE: usize = 1 << 17;

/// The first documents by id, after this one, that something is due on; none when there are no more.
pub(super) fn due_documents(store: &Store, now: Timestamp, after: i64) -> Result<Vec<i64>> {
    let mut first = Smallest::new(DOCUMENTS_AT_ONCE);
    store.visit_due_documents(now, after, |document| first.offer(document))?;
    Ok(first.sorted())
}

/// The smallest of all numbers that it is offered, each once, so many at most.
struct Smallest {
    most: usize,
    kept: Vec<i64>,
    /// None above this is among them.
    bound: i64,
}

impl Smallest {
    fn new(most: usize) -> Self {
        Self {
            most,
            kept: Vec::new(),
            bound: i64::MAX,
        }
    }

    /// Sorts only when twice as many have come together: a small part of the cost of reading them.
    fn offer(&mut self, number: i64) {
        if number <= self.bound && self.kept.last() != Some(&number) {
            self.kept.push(number);
        }
        if self.kept.len() >= self.most.saturating_mul(2) {
            self.settle();
            if self.kept.len() == self.most {
                self.bound = self.kept.last().copied().unwrap_or(self.bound);
            }
        }
    }

    fn settle(&mut self) {
        self.kept.sort_unstable();
        self.kept.dedup();
        self.kept.truncate(self.most);
    }

    fn sorted(mut self) -> Vec<i64> {
        self.settle();
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};

    use super::Smallest;

    proptest! {
        #[test]
        fn it_keeps_the_smallest_numbers_in_order_and_each_once(
            numbers in prop::collection::vec(-20..20_i64, 0..200),
            most in 1..30_usize,
        ) {
            let mut smallest = Smallest::new(most);
            for &number in &numbers {
                smallest.offer(number);
                prop_assert!(smallest.kept.len() < 2 * most.max(1));
            }
            let all: BTreeSet<i64> = numbers.into_iter().collect();
            prop_assert_eq!(smallest.sorted(), all.into_iter().take(most).collect::<Vec<_>>());
        }
    }
}
