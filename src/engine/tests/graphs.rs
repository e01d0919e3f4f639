//! Random graphs: everything that decides when a stage runs and how it ends. A number gives a graph.

use fastrand::Rng;
use serde_json::{Map, Value as Json, json};

use crate::expression::Status;
use crate::graph::{Plan, Selection};
use crate::pipeline::OnWarning;

/// The output of a program with instances, which the matrix of another stage may list.
pub(super) const OUTPUT: &str = "o";

/// A run to be.
#[derive(Debug)]
pub(super) struct Graph {
    /// Those of `finally` last. Each needs only earlier ones; the file has them in another order.
    pub(super) stages: Vec<Stage>,
    pub(super) order: Vec<usize>,
    pub(super) max_parallel: usize,
    pub(super) on_warning: OnWarning,
    /// Nothing that ends a stage early but its own timeout: time does not decide its outcome.
    pub(super) is_calm: bool,
    /// Milliseconds after its start.
    pub(super) cancelled_at: Option<u64>,
    pub(super) timeout: Option<u64>,
    /// The number of records that can be written; later ones fail.
    pub(super) records: Option<usize>,
}

#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each stands for a key of a file")]
pub(super) struct Stage {
    pub(super) is_finally: bool,
    pub(super) needs: Vec<usize>,
    pub(super) condition: Condition,
    pub(super) continue_on_error: bool,
    pub(super) on_warning: Option<OnWarning>,
    pub(super) timeout: Option<u64>,
    pub(super) attempts: u32,
    pub(super) matrix: Option<Matrix>,
    /// The kind, for those that may be joined; others are programs.
    pub(super) uses: Option<&'static str>,
    /// Takes the artifact of the stage before it.
    pub(super) takes: bool,
    /// And is one unit with it.
    pub(super) is_joined: bool,
    /// By instance, then by attempt; the last one stays. A unit does what its last stage has.
    pub(super) acts: Vec<Vec<Act>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Condition {
    #[default]
    None,
    Holds(bool),
    Broken,
    Success,
    Failure,
    Always,
    Cancelled,
    NoSuccess,
    BrokenAlways,
}

#[derive(Debug)]
pub(super) struct Matrix {
    pub(super) count: usize,
    /// The stage whose outputs it lists, one value for each instance of that one.
    pub(super) over: Option<usize>,
    /// Those whose values are `null`; with `over`, those that gave nothing are, too.
    pub(super) skipped: Vec<usize>,
    pub(super) fail_fast: bool,
    pub(super) max_parallel: Option<usize>,
    /// It has no value.
    pub(super) is_broken: bool,
}

/// What an attempt does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Act {
    pub(super) millis: u64,
    pub(super) warns: bool,
    pub(super) end: End,
    /// Which stage of its unit warns and ends so.
    pub(super) place: usize,
    /// How long it takes to stop.
    pub(super) stopping: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Well,
    Failure,
    Transient,
    Skip,
    Panic,
    /// Before there is a future.
    PanicAtOnce,
    /// Tells of no stage.
    Nothing,
    /// Until it is stopped.
    Hang,
    /// Does not stop, and speaks when nobody listens any more.
    Deaf,
    /// Does not stop, and ends well.
    Stubborn,
}

impl Condition {
    fn text(self) -> Option<&'static str> {
        Some(match self {
            Self::None => return None,
            Self::Holds(true) => "1 < 2",
            Self::Holds(false) => "1 > 2",
            Self::Broken => "needs.a.outputs.b[7] == 1",
            Self::Success => "success()",
            Self::Failure => "failure()",
            Self::Always => "always()",
            Self::Cancelled => "cancelled()",
            Self::NoSuccess => "!success()",
            Self::BrokenAlways => "always() && needs.a.outputs.b[7] == 1",
        })
    }

    pub(super) fn names_a_status(self) -> bool {
        !matches!(self, Self::None | Self::Holds(_) | Self::Broken)
    }

    /// `None` where it has no value.
    pub(super) fn value(self, status: Status) -> Option<bool> {
        match self {
            Self::None | Self::Always => Some(true),
            Self::Holds(holds) => Some(holds),
            Self::Success => Some(status.success),
            Self::Failure => Some(status.failure),
            Self::Cancelled => Some(status.cancelled),
            Self::NoSuccess => Some(!status.success),
            Self::Broken | Self::BrokenAlways => None,
        }
    }
}

impl Graph {
    pub(super) fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let is_calm = rng.bool();
        let most = if rng.u8(..10) == 0 { 60 } else { 16 };
        let main = rng.usize(1..most);
        let last = rng.usize(0..5);
        let mut graph = Self {
            stages: Vec::new(),
            order: Vec::new(),
            max_parallel: rng.usize(1..=8),
            on_warning: on_warning(&mut rng),
            is_calm,
            cancelled_at: (!is_calm && rng.u8(..3) == 0).then(|| rng.u64(0..1_200) * 10 + 3),
            timeout: (!is_calm && rng.u8(..3) == 0).then(|| rng.u64(0..1_200) * 10 + 7),
            records: (!is_calm && rng.u8(..4) == 0).then(|| rng.usize(0..3 * main)),
        };
        let shape = rng.u8(..4);
        while graph.stages.len() < main {
            graph.add(&mut rng, 0, shape);
        }
        let first = graph.stages.len();
        while graph.stages.len() < first + last {
            graph.add(&mut rng, first, shape);
        }
        for stage in &mut graph.stages[first..] {
            stage.is_finally = true;
        }
        graph.order = (0..graph.stages.len()).collect();
        rng.shuffle(&mut graph.order);
        let joined: Vec<bool> = (0..graph.stages.len()).map(|stage| graph.is_joined(stage)).collect();
        for (stage, joined) in graph.stages.iter_mut().zip(joined) {
            stage.is_joined = joined;
        }
        graph
    }

    /// Adds a stage, or several of which each takes the artifact of the one before.
    fn add(&mut self, rng: &mut Rng, first: usize, shape: u8) {
        if rng.u8(..5) > 0 {
            let stage = self.stage(rng, first, shape, None);
            return self.stages.push(stage);
        }
        let kinds: &[&'static str] =
            if rng.bool() { &["archive", "encrypt", "upload"] } else { &["archive", "encrypt"] };
        let is_plain = rng.u8(..4) > 0;
        for (place, kind) in kinds.iter().enumerate() {
            let mut stage = self.stage(rng, first, shape, Some(kind));
            if is_plain {
                stage.condition = Condition::None;
                stage.matrix = None;
            }
            if place > 0 {
                let before = self.stages.len() - 1;
                stage.takes = true;
                if !stage.needs.contains(&before) {
                    stage.needs.push(before);
                }
            }
            self.stages.push(stage);
        }
    }

    fn stage(&self, rng: &mut Rng, first: usize, shape: u8, uses: Option<&'static str>) -> Stage {
        let before = first..self.stages.len();
        let mut needs: Vec<usize> = match shape {
            _ if before.is_empty() => Vec::new(),
            // Deep, wide, diamonds, anything.
            0 => vec![before.end - 1],
            1 => before.filter(|_| rng.u8(..12) == 0).take(2).collect(),
            2 => before.rev().take(6).filter(|_| rng.u8(..3) == 0).collect(),
            _ => (0..rng.usize(0..4)).map(|_| rng.usize(before.clone())).collect(),
        };
        needs.sort_unstable();
        needs.dedup();
        // What takes part in a chain is mostly left alone, so that it can be one.
        if rng.u8(..8) > 0 {
            needs.retain(|&need| self.stages[need].uses.is_none_or(|kind| kind == "upload"));
        }
        let condition = match rng.u8(..30) {
            0 | 1 => Condition::Holds(true),
            2 => Condition::Holds(false),
            3 => Condition::Broken,
            4 | 5 => Condition::Success,
            6 | 7 => Condition::Failure,
            8 | 9 => Condition::Always,
            10 => Condition::Cancelled,
            11 => Condition::NoSuccess,
            12 => Condition::BrokenAlways,
            _ => Condition::None,
        };
        let mut matrix = (rng.u8(..4) == 0).then(|| {
            let count = rng.usize(0..6);
            let are_all = rng.u8(..4) == 0;
            Matrix {
                count,
                over: None,
                skipped: (0..count).filter(|_| are_all || rng.u8(..6) == 0).collect(),
                fail_fast: !self.is_calm && rng.bool(),
                max_parallel: rng.bool().then(|| rng.usize(1..4)),
                is_broken: rng.u8(..12) == 0,
            }
        });
        // Two in three list what a stage with instances gave, where they need one.
        let listed =
            needs.iter().copied().find(|&need| self.stages[need].matrix.is_some() && self.stages[need].uses.is_none());
        if let Some(over) = listed.filter(|_| uses.is_none() && rng.u8(..3) > 0) {
            let count = self.stages[over].matrix.as_ref().map_or(0, |matrix| matrix.count);
            let (skipped, fail_fast) = (Vec::new(), !self.is_calm && rng.bool());
            let max_parallel = rng.bool().then(|| rng.usize(1..4));
            matrix = Some(Matrix { count, over: Some(over), skipped, fail_fast, max_parallel, is_broken: false });
        }
        let timeout = (rng.u8(..3) == 0).then(|| rng.u64(1..200) * 10 + 5);
        // Where nothing would end it, nothing hangs.
        let is_ended = timeout.is_some() || (self.timeout.is_some() && first == 0 && !condition.names_a_status());
        let calm = self.is_calm;
        let instances = matrix.as_ref().map_or(1, |matrix| matrix.count.max(1));
        Stage {
            needs,
            condition,
            continue_on_error: rng.u8(..6) == 0,
            on_warning: rng.bool().then(|| on_warning(rng)),
            timeout,
            attempts: rng.u32(1..4),
            matrix,
            uses,
            acts: (0..instances).map(|_| (0..3).map(|_| act(rng, calm, is_ended)).collect()).collect(),
            ..Stage::default()
        }
    }

    /// Whether a stage and the one before are one stream: section 4 of the design, read anew.
    fn is_joined(&self, stage: usize) -> bool {
        let plain = |stage: &Stage| stage.condition == Condition::None && stage.matrix.is_none();
        let is_alone = |need: usize| self.stages.iter().filter(|other| other.needs.contains(&need)).count() == 1;
        let one = &self.stages[stage];
        one.takes && plain(one) && plain(&self.stages[stage - 1]) && is_alone(stage - 1)
    }

    /// The stages of the unit that begins with this one.
    pub(super) fn unit(&self, first: usize) -> std::ops::Range<usize> {
        let more = self.stages[first + 1..].iter().take_while(|stage| stage.is_joined).count();
        first..first + 1 + more
    }

    /// The first stage of the unit of this one.
    pub(super) fn first(&self, stage: usize) -> usize {
        (0..=stage).rev().find(|&one| !self.stages[one].is_joined).unwrap()
    }

    /// What the unit of a stage waits for.
    pub(super) fn needs_of_unit(&self, stage: usize) -> Vec<usize> {
        let unit = self.unit(self.first(stage));
        let needs = self.stages[unit.clone()].iter().flat_map(|stage| &stage.needs);
        needs.copied().filter(|need| !unit.contains(need)).collect()
    }

    pub(super) fn plan(&self, selection: &Selection) -> Plan {
        let section = |is_finally: bool| -> Map<String, Json> {
            let stages = self.order.iter().filter(|&&stage| self.stages[stage].is_finally == is_finally);
            stages.map(|&stage| (name(stage), self.file_of(stage))).collect()
        };
        let file = json!({
            "version": 1,
            "name": "random",
            "defaults": { "on-warning": self.on_warning },
            "stages": section(false),
            "finally": section(true),
        });
        Plan::select(&serde_json::from_value(file).unwrap(), selection)
    }

    fn file_of(&self, number: usize) -> Json {
        let stage = &self.stages[number];
        let mut file = json!({
            "needs": stage.needs.iter().map(|&need| name(need)).collect::<Vec<_>>(),
            "continue-on-error": stage.continue_on_error,
            "retry": { "attempts": stage.attempts, "delay": "200ms", "max-delay": "2s" },
        });
        let mut set = |key: &str, value: Json| file.as_object_mut().unwrap().insert(key.to_owned(), value);
        match stage.uses {
            Some(kind) => set("uses", kind.into()),
            None => set("run", json!(["x"])),
        };
        if stage.takes {
            let before = name(number - 1);
            set("with", json!({ "artifact": format!("${{{{ needs.{before}.outputs.artifact }}}}") }));
        }
        if let Some(text) = stage.condition.text() {
            set("if", text.into());
        }
        if let Some(on_warning) = stage.on_warning {
            set("on-warning", json!(on_warning));
        }
        if let Some(millis) = stage.timeout {
            set("timeout", format!("{millis}ms").into());
        }
        if let Some(matrix) = &stage.matrix {
            let most = matrix.max_parallel;
            let values = matrix
                .over
                .map_or_else(|| json!([1]), |over| format!("${{{{ needs.{}.outputs.{OUTPUT} }}}}", name(over)).into());
            set("strategy", json!({ "matrix": { "m": values }, "fail-fast": matrix.fail_fast, "max-parallel": most }));
            if stage.uses.is_none() {
                set("outputs", json!({ OUTPUT: "string" }));
            }
        }
        file
    }
}

fn on_warning(rng: &mut Rng) -> OnWarning {
    [OnWarning::Warn, OnWarning::Warn, OnWarning::Fail, OnWarning::Ignore][rng.usize(..4)]
}

fn act(rng: &mut Rng, is_calm: bool, is_ended: bool) -> Act {
    let end = match rng.u8(..24) {
        0 | 1 => End::Failure,
        2..=4 => End::Transient,
        5 => End::Skip,
        6 => End::Panic,
        7 => End::PanicAtOnce,
        8 => End::Nothing,
        9 if is_ended => End::Hang,
        10 if is_ended => End::Deaf,
        11 if !is_calm => End::Stubborn,
        _ => End::Well,
    };
    Act {
        millis: rng.u64(0..200) * if rng.bool() { 10 } else { 0 },
        warns: rng.u8(..5) == 0,
        end,
        place: rng.usize(..3),
        stopping: rng.u64(0..200) * if rng.bool() { 10 } else { 0 },
    }
}

/// What a stage is called, by its number.
pub(super) fn name(stage: usize) -> String {
    format!("s{stage}")
}
