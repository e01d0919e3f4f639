//! Which faults happen, where and how often.

use std::collections::HashMap;

/// The operation of a request.
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

/// A fault: what happens instead of the requested work, or in addition to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// An S3 error with these extra headers.
    Error(u16, &'static str, &'static [(&'static str, &'static str)]),
    /// `503 SlowDown` with `Retry-After`. Clients that return too early are counted.
    RetryAfter(u64),
    /// `403 RequestTimeTooSkewed`, with a clock that is this many seconds ahead.
    Skewed(i64),
    /// A proxy's HTML page.
    Html(u16),
    /// The connection is reset before the body is read.
    ResetBefore,
    /// The connection is reset after half of the body.
    ResetMiddle,
    /// The connection is closed after the body, without an answer.
    Close,
    /// An error right after the headers, without reading the body. Then the connection is closed.
    Early(u16, &'static str),
    /// The body is read, and no answer comes.
    Silence,
    /// The body is never read.
    NeverRead,
    /// The body is read at a few bytes per second.
    SlowRead,
    /// The connection ends in the middle of the answer's body.
    Cut,
    /// One bit of the answer's body is flipped.
    Flip,
    /// The answer stalls in the middle of its body.
    Stall,
    NoEtag,
    WrongEtag,
    WrongChecksum,
    /// `200` with an error in the body. The work was not done.
    OkError(&'static str),
    /// `200` without a body.
    OkEmpty(Work),
    /// `200` with half of the body. Then the connection is closed.
    OkCut(Work),
    /// `200` with half of the body, and `Content-Length` matches that half.
    OkHalf(Work),
    /// The work is done, and the connection is closed without an answer.
    Lost,
    /// The work is done, and no answer comes.
    LostInSilence,
    /// It is done; the body comes this number of milliseconds after the headers.
    SlowAnswer(u64),
    /// It is done; the answer comes after this number of milliseconds.
    Late(u64),
    /// It is done; this number of spaces, one every 100 ms, comes before the body.
    Spaces(u32),
    /// The stored bytes differ by one bit. Everything else describes what was sent.
    StoreFlipped,
    /// The bytes that arrive differ by one bit. The answer and the stored object reflect that.
    Damage,
    IgnoreCondition,
    /// Checksums are neither checked nor stored nor echoed.
    IgnoreChecksums,
    /// A checksum in a header is refused with this code.
    RefuseChecksums(u16, &'static str),
    DropMetadata,
    /// The work is done and answered. Then the connection is closed without notice.
    CloseAfter,
    /// The work is done. The answer has each header twice.
    Twice,
}

/// Whether the requested work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Done,
    Undone,
}

/// A rule for a fault.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub op: Op,
    /// Applies to this part only.
    pub part: Option<u32>,
    /// Starts with this request, counted from 1. By default with the first one.
    pub nth: Option<u32>,
    /// How many times it applies.
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

/// Random faults. The same seed gives the same faults for the same requests.
#[derive(Clone, Debug)]
pub struct Chaos {
    pub seed: u64,
    /// The probability of each action, by operation. The sum for an operation stays below 1.
    pub rates: Vec<(Op, Action, f64)>,
    /// The total number of faults. After that the server heals.
    pub budget: u32,
}

impl Chaos {
    /// Every fault that a client must survive, in a third of the requests.
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
        // Not for a completion: clients must wait long for one.
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
            // Nobody could abort an upload whose id was in a lost answer.
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

/// Chooses the fault for each request.
#[derive(Default)]
pub struct Script {
    rules: Vec<(Rule, u32)>,
    chaos: Option<Chaos>,
    seen: HashMap<(Op, Option<u32>), u32>,
    /// The faults so far, in order.
    pub done: Vec<(Op, Option<u32>, Action)>,
}

impl Script {
    pub fn add(&mut self, rule: Rule) {
        self.rules.push((rule, 0));
    }

    pub fn set_chaos(&mut self, chaos: Chaos) {
        self.chaos = Some(chaos);
    }

    /// The fault for this request, if any.
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
        // A client gives up if bytes arrive damaged too often.
        let damages = |action: &Action| matches!(action, Action::Damage | Action::WrongChecksum | Action::WrongEtag);
        if damages(&action) && self.done.iter().filter(|(.., done)| damages(done)).count() >= 2 {
            return None;
        }
        chaos.budget -= 1;
        Some(action)
    }
}
