//! Sets of small numbers.

use std::fmt;

/// A set of numbers below 64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Set(u64);

/// Every `step`th number from `first` to `last`.
pub(super) struct Run {
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) step: u32,
}

impl Set {
    /// The numbers from `first` to `last` in steps. Both are below 64.
    pub(super) fn stepped(first: u32, last: u32, step: u32) -> Self {
        (first..=last).step_by(step.max(1) as usize).fold(Self::default(), Self::with)
    }

    pub(super) fn range(first: u32, last: u32) -> Self {
        Self::stepped(first, last, 1)
    }

    pub(super) fn one(number: u32) -> Self {
        Self::default().with(number)
    }

    pub(super) fn with(self, number: u32) -> Self {
        Self(self.0 | 1 << number)
    }

    pub(super) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn contains(self, number: u32) -> bool {
        self.0 >> number & 1 == 1
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn len(self) -> u32 {
        self.0.count_ones()
    }

    pub(super) fn iter(self) -> impl DoubleEndedIterator<Item = u32> {
        (0..64).filter(move |number| self.contains(*number))
    }

    pub(super) fn filter(self, keep: impl Fn(u32) -> bool) -> Self {
        self.iter().filter(|number| keep(*number)).fold(Self::default(), Self::with)
    }

    pub(super) fn first(self) -> u32 {
        self.iter().next().unwrap_or_default()
    }

    pub(super) fn last(self) -> u32 {
        self.iter().next_back().unwrap_or_default()
    }

    /// Its number, if it has exactly one.
    pub(super) fn only(self) -> Option<u32> {
        (self.len() == 1).then(|| self.first())
    }

    /// The set as a run of three or more numbers at equal distances. `None` if it is not one.
    pub(super) fn as_run(self) -> Option<Run> {
        let (first, last) = (self.first(), self.last());
        let step = self.iter().nth(1)?.checked_sub(first)?;
        let is_run = self.len() > 2 && self == Self::stepped(first, last, step);
        is_run.then_some(Run { first, last, step })
    }

    /// Its ranges of consecutive numbers.
    pub(super) fn stretches(self) -> Vec<(u32, u32)> {
        let mut found: Vec<(u32, u32)> = Vec::new();
        for number in self.iter() {
            match found.last_mut() {
                Some((_, last)) if *last + 1 == number => *last = number,
                _ => found.push((number, number)),
            }
        }
        found
    }

    /// Its written form. `dots` joins the ends of a range of three or more numbers.
    pub(super) fn spelled(self, dots: &str, spell: &dyn Fn(u32) -> String) -> String {
        let spelled = self.stretches().into_iter().flat_map(|(first, last)| {
            if last - first < 2 {
                (first..=last).map(spell).collect()
            } else {
                vec![format!("{}{dots}{}", spell(first), spell(last))]
            }
        });
        spelled.collect::<Vec<_>>().join(",")
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.spelled("-", &|number| number.to_string()))
    }
}
