//! What goes wrong, where and how often.

use std::collections::HashMap;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    HeadBucket,
    GetVersioning,
    GetObjectLock,
    Put,
    Head,
    Get,
    Delete,
    Create,
    Part,
    Complete,
    Abort,
    List,
    ListUploads,
    ListParts,
    Other,
}

/// What happens instead of, or beside, what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// An error of S3, with more headers.
    Error(u16, &'static str, &'static [(&'static str, &'static str)]),
    /// `503 SlowDown` with `Retry-After`; who comes back sooner is counted.
    RetryAfter(u64),
    /// `403 RequestTimeTooSkewed`, with a clock that is so many seconds ahead.
    Skewed(i64),
    /// A page of a proxy.
    Html(u16),
    /// The connection is reset before the body is read.
    ResetBefore,
    /// The connection is reset when half of the body is read.
    ResetMiddle,
    /// The connection is closed after the body, without an answer.
    Close,
    /// An error after the headers, without reading the body, and the connection is closed.
    Early(u16, &'static str),
    /// The body is taken, and that is all.
    Silence,
    /// The body is never read.
    NeverRead,
    /// The body is read by a few bytes a second.
    SlowRead,
    /// The answer ends in the middle of its body.
    Cut,
    /// One bit of the answer's body is another.
    Flip,
    /// The answer stops in the middle of its body.
    Stall,
    NoEtag,
    WrongEtag,
    WrongChecksum,
    /// `200`, and an error in the body. Nothing was done.
    OkError(&'static str),
    /// `200`, and no body.
    OkEmpty(Work),
    /// `200`, and half of the body; the connection is closed.
    OkCut(Work),
    /// `200`, and half of the body, of which the length is announced.
    OkHalf(Work),
    /// It is done, and the connection is closed without an answer.
    Lost,
    /// It is done, and nothing is said.
    LostInSilence,
    /// It is done; the body comes so many milliseconds after the headers.
    SlowAnswer(u64),
    /// It is done; the answer comes after so many milliseconds.
    Late(u64),
    /// It is done; a space comes each 100 ms, so many times, before the body.
    Spaces(u32),
    /// What is kept differs by one bit, and everything else tells of what was sent.
    StoreFlipped,
    /// What arrives differs by one bit; the answer and what is kept tell of that.
    Damage,
    IgnoreCondition,
    /// Checksums are not looked at, not kept and not echoed.
    IgnoreChecksums,
    /// A checksum in a header is refused, with this code.
    RefuseChecksums(u16, &'static str),
    DropMetadata,
    /// It is done and answered, and the connection is closed where the client may not expect it.
    CloseAfter,
    /// It is done and answered, with each header twice.
    Twice,
}

/// Whether what was asked for is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Done,
    Undone,
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub op: Op,
    /// Of this part alone.
    pub part: Option<u32>,
    /// From this request on, counted from 1; from the first one without it.
    pub nth: Option<u32>,
    /// So many times.
    pub times: u32,
    pub action: Action,
}

const ALWAYS: u32 = u32::MAX;

impl Rule {
    pub const fn once(op: Op, action: Action) -> Self {
        Self { op, part: None, nth: None, times: 1, action }
    }

    pub const fn always(op: Op, action: Action) -> Self {
        Self { op, part: None, nth: None, times: ALWAYS, action }
    }

    pub const fn part(self, part: u32) -> Self {
        Self { part: Some(part), ..self }
    }

    pub const fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }

    pub const fn nth(self, nth: u32) -> Self {
        Self { nth: Some(nth), ..self }
    }
}

/// Faults by chance: the same seed gives the same faults to the same requests.
#[derive(Clone, Debug)]
pub struct Chaos {
    pub seed: u64,
    /// How likely an action is, by operation; all of an operation together stay below 1.
    pub rates: Vec<(Op, Action, f64)>,
    /// So many in all; then it heals.
    pub budget: u32,
}

impl Chaos {
    /// All that a client must survive, a third of the requests.
    pub fn survivable(seed: u64, budget: u32) -> Self {
        let anywhere = [
            Action::Error(503, "SlowDown", &[]),
            Action::Error(500, "InternalError", &[]),
            Action::Error(429, "TooManyRequests", &[]),
            Action::Html(502),
            Action::ResetBefore,
            Action::ResetMiddle,
            Action::Close,
            Action::Early(503, "SlowDown"),
            Action::CloseAfter,
        ];
        let writes = [Action::Lost, Action::Cut, Action::Error(400, "RequestTimeout", &[])];
        // Not of a completion: a client must give that a long time.
        let silent = [Action::Silence, Action::LostInSilence];
        let bytes = [Action::NoEtag, Action::WrongChecksum, Action::Damage, Action::NeverRead];
        let answers = [
            Action::OkError("InternalError"),
            Action::OkEmpty(Work::Done),
            Action::OkEmpty(Work::Undone),
            Action::OkCut(Work::Done),
            Action::OkHalf(Work::Done),
            Action::OkHalf(Work::Undone),
        ];
        let mut rates = Vec::new();
        for (op, more) in [
            (Op::Put, [&writes[..], &silent, &bytes].concat()),
            (Op::Part, [&writes[..], &silent, &bytes].concat()),
            (Op::Complete, [&writes[..], &answers].concat()),
            // What a lost answer would have named cannot be taken back.
            (Op::Create, vec![Action::Silence]),
            (Op::Head, vec![Action::Silence]),
            (Op::Get, vec![Action::Cut, Action::Stall]),
            (Op::Abort, vec![Action::Lost]),
        ] {
            let actions = [&anywhere[..], &more].concat();
            let rate = 0.33 / actions.len() as f64;
            rates.extend(actions.into_iter().map(|action| (op, action, rate)));
        }
        Self { seed, rates, budget }
    }
}

/// Decides for each request.
#[derive(Default)]
pub struct Script {
    rules: Vec<(Rule, u32)>,
    chaos: Option<Chaos>,
    seen: HashMap<(Op, Option<u32>), u32>,
    /// What was done, in order.
    pub done: Vec<(Op, Option<u32>, Action)>,
}

impl Script {
    pub fn add(&mut self, rule: Rule) {
        self.rules.push((rule, 0));
    }

    pub fn set_chaos(&mut self, chaos: Chaos) {
        self.chaos = Some(chaos);
    }

    /// What goes wrong with this request.
    pub fn next(&mut self, op: Op, part: Option<u32>) -> Option<Action> {
        let nth = self.seen.entry((op, part)).or_default();
        *nth += 1;
        let nth = *nth;
        let action = self.by_rule(op, part).or_else(|| self.by_chance(op, part, nth))?;
        self.done.push((op, part, action));
        Some(action)
    }

    fn by_rule(&mut self, op: Op, part: Option<u32>) -> Option<Action> {
        let mut found = None;
        for (rule, matched) in &mut self.rules {
            if rule.op != op || rule.part.is_some_and(|number| Some(number) != part) {
                continue;
            }
            *matched += 1;
            let first = rule.nth.unwrap_or(1);
            if found.is_none() && *matched >= first && *matched - first < rule.times {
                found = Some(rule.action);
            }
        }
        found
    }

    fn by_chance(&mut self, op: Op, part: Option<u32>, nth: u32) -> Option<Action> {
        let chaos = self.chaos.as_mut()?;
        if chaos.budget == 0 {
            return None;
        }
        let place = (op as u64) << 48 | u64::from(part.unwrap_or(0)) << 24 | u64::from(nth);
        let mut rng = fastrand::Rng::with_seed(chaos.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ place);
        let mut chance = rng.f64();
        let (_, action, _) = *chaos.rates.iter().filter(|(own, ..)| *own == op).find(|(_, _, rate)| {
            chance -= rate;
            chance < 0.0
        })?;
        // A client gives up on a wire that damages too often.
        let damages = |action: &Action| matches!(action, Action::Damage | Action::WrongChecksum | Action::WrongEtag);
        if damages(&action) && self.done.iter().filter(|(.., done)| damages(done)).count() >= 2 {
            return None;
        }
        chaos.budget -= 1;
        Some(action)
    }
}
