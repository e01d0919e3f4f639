//! Which stages of a chain share the blame when one of them fails.

use crate::event::Outcome;

/// How one stage of a chain ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It did its work.
    Done,
    /// It did not, for a reason of its own: a failure, or nothing to do.
    Cause,
    /// It failed only because the stage that reads from it went away.
    LostReader,
    /// It failed only because the stage that writes to it went away.
    LostWriter,
    /// It did not begin, because another stage of the chain could not.
    NotBegun,
}

/// What the chain makes of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The stage ends as it ended by itself.
    Own,
    /// Its work is lost because another stage of the chain did not do its own.
    Lost {
        /// Cancelled or skipped.
        outcome: Outcome,
        /// The place in the chain of the stage that caused it.
        cause: usize,
    },
}

/// Settles a chain, in the direction of its data. A chain commits together: what a stage gave to one that then failed
/// went nowhere. A stage before the cause, or one that had ended well, is cancelled; one after it that had not ended
/// well is skipped.
pub fn settle(links: &[Link]) -> Vec<Fate> {
    let causes: Vec<usize> = (0..links.len()).filter(|&place| links[place] == Link::Cause).collect();
    let before = |place: usize| causes.iter().copied().rfind(|&cause| cause < place);
    let after = |place: usize| causes.iter().copied().find(|&cause| cause > place);
    let fate = |(place, link): (usize, &Link)| {
        // The nearest cause on the side where the stream broke: several stages may fail by themselves.
        let cause = match link {
            Link::Cause => None,
            Link::LostReader => after(place).or_else(|| before(place)),
            Link::Done | Link::LostWriter | Link::NotBegun => before(place).or_else(|| after(place)),
        };
        let Some(cause) = cause else { return Fate::Own };
        let is_skipped = cause < place && *link != Link::Done;
        Fate::Lost { outcome: if is_skipped { Outcome::Skipped } else { Outcome::Cancelled }, cause }
    };
    links.iter().enumerate().map(fate).collect()
}

#[cfg(test)]
mod tests {
    use super::Fate::{self, Own};
    use super::Link::{Cause, Done, LostReader, LostWriter, NotBegun};
    use super::*;

    fn cancelled(cause: usize) -> Fate {
        Fate::Lost { outcome: Outcome::Cancelled, cause }
    }

    fn skipped(cause: usize) -> Fate {
        Fate::Lost { outcome: Outcome::Skipped, cause }
    }

    #[test]
    fn a_chain_commits_together() {
        assert_eq!(settle(&[Done, Done, Done]), [Own, Own, Own]);
        assert_eq!(settle(&[LostReader, Cause, LostWriter]), [cancelled(1), Own, skipped(1)]);
        // What ended well is cancelled on either side.
        assert_eq!(settle(&[Done, Cause, Done]), [cancelled(1), Own, cancelled(1)]);
        assert_eq!(settle(&[NotBegun, Cause, NotBegun]), [cancelled(1), Own, skipped(1)]);
        assert_eq!(settle(&[Cause, LostWriter, LostWriter]), [Own, skipped(0), skipped(0)]);
        assert_eq!(settle(&[LostReader, LostReader, Cause]), [cancelled(2), cancelled(2), Own]);
    }

    #[test]
    fn each_loss_has_the_nearest_cause() {
        assert_eq!(settle(&[Cause, LostWriter, LostReader, Cause]), [Own, skipped(0), cancelled(3), Own]);
        // Nobody to blame: a stage that lost its neighbour fails for itself.
        assert_eq!(settle(&[LostReader, Done]), [Own, Own]);
    }
}
