//! The values that may not be shown, found in a text however many there are.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, Range};
use std::rc::Rc;

/// How many bytes the values may take of tasks that are over. The values of the oldest are forgotten beyond it: a
/// handler that is given tasks for hours must not make the runner grow with them.
const MOST_KEPT: usize = 16 * 1024 * 1024;
/// What it costs to keep a value, besides its text.
const COST: usize = 64;
/// Values are told apart by so many bytes at first: none is shorter.
const BEGINNING: usize = 4;
/// How many kinds of beginnings are counted, a power of two.
const KINDS: usize = 4096;

/// The values of one task. Whoever holds them keeps them from being forgotten.
pub(super) type Given = Rc<[Rc<str>]>;

/// Values of at least four bytes.
#[derive(Debug, Default)]
pub(super) struct Hidden {
    /// Each value, and how many tasks have it.
    values: BTreeMap<Rc<str>, usize>,
    /// How many values begin with each kind of beginning; empty until there is a value. Most places of a text are
    /// passed over by it.
    beginnings: Vec<u32>,
    /// The values of each task, the oldest first.
    tasks: VecDeque<Given>,
    /// The bytes that all of them cost, a value that several tasks have for each of these.
    kept: usize,
    /// The length in bytes of the longest value that there ever was.
    longest: usize,
}

impl Hidden {
    /// Adds the values of a task, and forgets those of the oldest that are over, when they are too many.
    pub(super) fn add(&mut self, mut values: Vec<String>) -> Given {
        values.retain(|value| value.len() >= BEGINNING);
        values.sort_unstable();
        values.dedup();
        let given: Given = values.into_iter().map(|value| self.insert(value)).collect();
        if !given.is_empty() {
            self.tasks.push_back(Rc::clone(&given));
            self.forget();
        }
        given
    }

    fn insert(&mut self, value: String) -> Rc<str> {
        self.kept += value.len() + COST;
        let shared = self.values.get_key_value(value.as_str());
        if let Some(shared) = shared.map(|(shared, _)| Rc::clone(shared)) {
            if let Some(tasks) = self.values.get_mut(&shared) {
                *tasks += 1;
            }
            return shared;
        }
        let value: Rc<str> = value.into();
        self.longest = self.longest.max(value.len());
        self.beginnings.resize(KINDS, 0);
        self.count(&value, |count| count.saturating_add(1));
        self.values.insert(Rc::clone(&value), 1);
        value
    }

    fn count(&mut self, value: &str, change: impl Fn(u32) -> u32) {
        let kind = kind(value.as_bytes());
        if let Some(count) = kind.and_then(|kind| self.beginnings.get_mut(kind)) {
            *count = change(*count);
        }
    }

    fn forget(&mut self) {
        let mut left = self.tasks.len();
        while self.kept > MOST_KEPT && left > 0 {
            left -= 1;
            let Some(oldest) = self.tasks.pop_front() else {
                return;
            };
            // Who is still at it may say it at any time.
            if Rc::strong_count(&oldest) > 1 {
                self.tasks.push_back(oldest);
                continue;
            }
            for value in oldest.iter() {
                self.remove(value);
            }
        }
    }

    fn remove(&mut self, value: &Rc<str>) {
        self.kept = self.kept.saturating_sub(value.len() + COST);
        match self.values.get_mut(value) {
            Some(tasks) if *tasks > 1 => *tasks -= 1,
            _ => {
                self.values.remove(value);
                self.count(value, |count| count.saturating_sub(1));
            }
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Where values stand in a text: of those that begin at a place, the longest. They may overlap, one with itself too.
    pub(super) fn places<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
        text.char_indices().filter_map(|(at, _)| {
            let length = self.longest_at(text.get(at..)?)?;
            Some(at..at + length)
        })
    }

    /// The length of the longest value that a text begins with.
    fn longest_at(&self, text: &str) -> Option<usize> {
        if !self.may_begin(text) {
            return None;
        }
        // What sorts last of all up to the text shares the most of its beginning with it: a value that the text begins
        // with is no longer than that.
        let mut rest = text;
        loop {
            let up_to = (Bound::Unbounded, Bound::Included(rest));
            let (value, _) = self.values.range::<str, _>(up_to).next_back()?;
            let shared = shared(value, rest);
            if shared == value.len() {
                return Some(shared);
            }
            rest = rest.get(..shared)?;
            if rest.len() < BEGINNING {
                return None;
            }
        }
    }

    /// Where the longest beginning of a value begins that a text ends with; the whole of a value is none.
    pub(super) fn half_at_end(&self, text: &str) -> Option<usize> {
        let first = text.len().saturating_sub(self.longest);
        let places = text.char_indices().map(|(at, _)| at);
        places.filter(|&at| at >= first).find(|&at| {
            text.get(at..)
                .is_some_and(|end| self.is_beginning_of_one(end))
        })
    }

    /// Whether a longer value begins with this text.
    fn is_beginning_of_one(&self, text: &str) -> bool {
        if text.len() >= BEGINNING && !self.may_begin(text) {
            return false;
        }
        let beyond = (Bound::Excluded(text), Bound::Unbounded);
        let next = self.values.range::<str, _>(beyond).next();
        next.is_some_and(|(value, _)| value.starts_with(text))
    }

    /// Whether a value could stand at the beginning of a text: mostly not, which costs little to find out.
    fn may_begin(&self, text: &str) -> bool {
        let count = kind(text.as_bytes()).and_then(|kind| self.beginnings.get(kind));
        count.is_some_and(|&count| count > 0)
    }
}

/// The kind of a beginning; none when the text is shorter than any value.
fn kind(text: &[u8]) -> Option<usize> {
    let beginning: [u8; BEGINNING] = text.get(..BEGINNING)?.try_into().ok()?;
    // Fibonacci hashing: the upper bits of the product depend on all four bytes.
    let mixed = u32::from_le_bytes(beginning).wrapping_mul(2_654_435_769);
    usize::try_from(mixed >> (32 - KINDS.ilog2())).ok()
}

/// How many bytes the letters take that two texts share from their beginning.
fn shared(one: &str, other: &str) -> usize {
    let pairs = one.chars().zip(other.chars());
    let same = pairs.take_while(|(one, other)| one == other);
    same.map(|(letter, _)| letter.len_utf8()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn given(values: &[&str]) -> Vec<String> {
        values.iter().map(|&value| value.to_owned()).collect()
    }

    #[test]
    fn the_values_of_the_oldest_tasks_are_forgotten_but_not_of_those_that_are_held() {
        let mut hidden = Hidden::default();
        let held = hidden.add(given(&["first-and-held"]));
        hidden.add(given(&["second", "shared-value"]));
        hidden.add(given(&["shared-value"]));
        let size = MOST_KEPT / 4;
        for task in 0..8 {
            hidden.add(vec![format!("{task}{}", "x".repeat(size))]);
        }
        assert!(hidden.kept <= MOST_KEPT, "{}", hidden.kept);
        let shows = |text: &str| hidden.places(text).next().is_none();
        assert!(shows("second") && shows("shared-value"));
        assert!(!shows("first-and-held"));
        drop(held);
        hidden.add(vec!["y".repeat(4 * size)]);
        let values: Vec<_> = hidden.values.keys().map(|value| value.len()).collect();
        assert_eq!(values, [4 * size], "only the newest is left");
        assert_eq!(hidden.beginnings.iter().sum::<u32>(), 1);
    }

    proptest! {
        #[test]
        fn values_are_found_where_a_plain_search_finds_them(
            values in proptest::collection::vec("[abé]{4,7}", 0..12), text in "[abé]{0,30}",
        ) {
            let mut hidden = Hidden::default();
            hidden.add(values.clone());
            let found: Vec<_> = hidden.places(&text).collect();
            let plain: Vec<_> = text.char_indices().filter_map(|(at, _)| {
                let there = values.iter().filter(|value| text[at..].starts_with(value.as_str()));
                there.map(String::len).max().map(|length| at..at + length)
            }).collect();
            prop_assert_eq!(found, plain);
            let half = text.char_indices().map(|(at, _)| at).find(|&at| {
                values.iter().any(|value| value.len() > text.len() - at && value.starts_with(&text[at..]))
            });
            prop_assert_eq!(hidden.half_at_end(&text), half);
        }
    }
}
