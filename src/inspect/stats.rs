//! Statistics of past runs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::past::did;
use crate::event::Outcome;
use crate::state::{DbError, Filter, Run, RunState, Runs, StageRun};

/// Statistics of the last runs of a pipeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PipelineStats {
    /// Its name.
    pub pipeline: String,
    /// The number of runs counted.
    pub runs: usize,
    /// The number of runs by outcome.
    pub outcomes: BTreeMap<String, usize>,
    /// The share of runs that count as a success. Skipped and cancelled runs are left out.
    pub success_rate: Option<f64>,
    /// The duration of runs that count as a success.
    pub seconds: Option<Summary>,
    /// The bytes that they delivered.
    pub bytes: Option<Summary>,
    /// Its stages.
    pub stages: Vec<StageStats>,
    /// Outliers of the last run.
    pub odd: Vec<Odd>,
    /// The last run that ended.
    pub last_run: Option<String>,
}

/// Statistics of a stage, all its instances together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageStats {
    /// Its name.
    pub stage: String,
    /// The number of runs in which it started and was not cancelled.
    pub runs: usize,
    /// The share of those in which it succeeded.
    pub success_rate: Option<f64>,
    /// Its duration where it succeeded.
    pub seconds: Option<Summary>,
    /// The bytes that it handled there.
    pub bytes: Option<Summary>,
}

/// A number over time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The median.
    pub median: f64,
    /// The 95th percentile.
    pub p95: f64,
    /// The value of the last run; none if that did not succeed.
    pub last: Option<f64>,
    /// All values, oldest first.
    pub values: Vec<f64>,
}

/// An outlier: a number of the last run that is far from those of earlier runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Odd {
    /// The stage; none for the whole run.
    pub stage: Option<String>,
    /// What was measured.
    pub what: Measured,
    /// The value in the last run.
    pub last: f64,
    /// The median of the earlier runs.
    pub median: f64,
    /// The distance from the median in robust standard deviations; negative if below.
    pub deviations: f64,
    /// The number of earlier runs compared.
    pub earlier: usize,
}

/// A measured quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measured {
    /// The duration.
    Seconds,
    /// The bytes handled.
    Bytes,
    /// The files collected.
    Files,
}

/// The last run is compared with at most this many earlier ones.
const BEFORE: usize = 30;
/// With fewer earlier runs, nothing is an outlier.
const FEWEST: usize = 8;
/// Outlier threshold in robust standard deviations: the usual bound (Iglewicz and Hoaglin, 1993).
const FAR: f64 = 3.5;
/// Converts a median absolute deviation into a standard deviation, for normally distributed values.
const SCALE: f64 = 1.4826;

/// Statistics of the last runs of each pipeline, or of one.
pub fn stats(runs: &Runs, pipeline: Option<&str>, last: usize) -> Result<Vec<PipelineStats>, DbError> {
    let names = match pipeline {
        Some(name) => vec![name.to_owned()],
        None => runs.pipelines()?,
    };
    let of = |name: String| {
        let filter =
            Filter { pipeline: Some(name.clone()), ended: true, last: Some(last.max(BEFORE + 1)), ..Filter::default() };
        let mut found = Vec::new();
        for run in runs.list(&filter)?.into_iter().rev() {
            let stages = runs.stages(&run.id)?;
            found.push((run, stages));
        }
        Ok(of_pipeline(name, &found, last))
    };
    let all: Result<Vec<PipelineStats>, DbError> = names.into_iter().map(of).collect();
    Ok(all?.into_iter().filter(|stats| stats.runs > 0).collect())
}

/// One run, or one stage of a run.
struct Point {
    outcome: Option<Outcome>,
    /// Whether it is a success.
    is_good: bool,
    seconds: Option<f64>,
    bytes: Option<f64>,
    files: Option<f64>,
    is_last: bool,
}

/// `runs` are oldest first.
fn of_pipeline(pipeline: String, runs: &[(Run, Vec<StageRun>)], last: usize) -> PipelineStats {
    let ended: Vec<&(Run, Vec<StageRun>)> =
        runs.iter().filter(|(run, _)| run.state == RunState::Ended && run.left_out.is_empty()).collect();
    let newest = ended.len().saturating_sub(1);
    let point = |(number, (run, stages)): (usize, &&(Run, Vec<StageRun>))| Point {
        outcome: run.outcome,
        is_good: run.outcome.is_some_and(Outcome::is_ok) && run.good.is_some(),
        seconds: run.seconds,
        bytes: total(stages.iter().filter_map(|row| did(row).delivered)),
        files: run.files.map(|files| files as f64),
        is_last: number == newest,
    };
    let whole: Vec<Point> = ended.iter().enumerate().map(point).collect();
    let mut names: Vec<&str> = Vec::new();
    for stage in ended.iter().rev().flat_map(|(_, stages)| stages) {
        if !names.contains(&stage.stage.as_str()) {
            names.push(&stage.stage);
        }
    }
    let mut odd = odd_of(None, &whole);
    let mut stages = Vec::new();
    for name in names {
        let points: Vec<Point> = ended
            .iter()
            .enumerate()
            .filter_map(|(number, (_, rows))| {
                stage_point(rows.iter().filter(|row| row.stage == name), number == newest)
            })
            .collect();
        odd.extend(odd_of(Some(name), &points));
        let points = &points[points.len().saturating_sub(last)..];
        stages.push(StageStats {
            stage: name.to_owned(),
            runs: points.len(),
            success_rate: success_rate(points),
            seconds: summary(points, |point| point.seconds),
            bytes: summary(points, |point| point.bytes),
        });
    }
    let counted = &whole[whole.len().saturating_sub(last)..];
    let mut outcomes = BTreeMap::new();
    for point in counted {
        *outcomes.entry(point.outcome.map(Outcome::word).unwrap_or_default().to_owned()).or_default() += 1;
    }
    PipelineStats {
        pipeline,
        runs: counted.len(),
        outcomes,
        success_rate: success_rate(counted),
        seconds: summary(counted, |point| point.seconds),
        bytes: summary(counted, |point| point.bytes),
        stages,
        odd,
        last_run: ended.last().map(|(run, _)| run.id.clone()),
    }
}

/// A stage in one run; none if it was skipped or cancelled.
fn stage_point<'a>(rows: impl Iterator<Item = &'a StageRun>, is_last: bool) -> Option<Point> {
    let rows: Vec<&StageRun> = rows.collect();
    let own = rows.iter().find(|row| row.instance.is_none()).or(rows.first())?;
    let outcome = own.outcome.filter(|outcome| !is_undone(*outcome))?;
    Some(Point {
        outcome: Some(outcome),
        is_good: outcome.is_ok(),
        seconds: own.seconds,
        bytes: total(rows.iter().filter_map(|row| did(row).bytes_or(row.bytes))),
        files: None,
        is_last,
    })
}

/// Whether the outcome says nothing about how well the work goes.
fn is_undone(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Skipped | Outcome::Cancelled)
}

fn total(bytes: impl Iterator<Item = u64>) -> Option<f64> {
    bytes.fold(None, |sum, bytes| Some(sum.unwrap_or(0.0) + bytes as f64))
}

fn success_rate(points: &[Point]) -> Option<f64> {
    let counted: Vec<&Point> =
        points.iter().filter(|point| point.outcome.is_some_and(|outcome| !is_undone(outcome))).collect();
    let good = counted.iter().filter(|point| point.is_good).count();
    (!counted.is_empty()).then(|| good as f64 / counted.len() as f64)
}

fn summary(points: &[Point], number: impl Fn(&Point) -> Option<f64>) -> Option<Summary> {
    let good = points.iter().filter(|point| point.is_good);
    let numbers: Vec<(bool, f64)> = good.filter_map(|point| Some((point.is_last, number(point)?))).collect();
    let values: Vec<f64> = numbers.iter().map(|(_, value)| *value).collect();
    let last = numbers.last().filter(|(is_last, _)| *is_last).map(|(_, value)| *value);
    Some(Summary { median: quantile(&values, 0.5)?, p95: quantile(&values, 0.95)?, last, values })
}

/// A quantile by the nearest rank. The median of an even count is the mean of the middle two. None for no values.
pub(super) fn quantile(values: &[f64], part: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len();
    if part.total_cmp(&0.5).is_eq() && count > 0 && count.is_multiple_of(2) {
        return Some(f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]));
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a count is one")]
    let rank = (part * count as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

/// The median of earlier values, and the distance of the last one from it in robust standard deviations, if that is far. The scale
/// is the median absolute deviation, so that one or two earlier outliers do not hide the next. It is at least 5 % of the median,
/// so that values which hardly vary raise no alarm.
pub(super) fn outlier(before: &[f64], now: f64, least: f64) -> Option<(f64, f64)> {
    let median = quantile(before, 0.5).filter(|_| before.len() >= FEWEST)?;
    let away: Vec<f64> = before.iter().map(|value| (value - median).abs()).collect();
    let scale = (SCALE * quantile(&away, 0.5)?).max(median.abs() * 0.05).max(least);
    let deviations = (now - median) / scale;
    (deviations.abs() > FAR).then_some((median, deviations))
}

/// The outliers of the last point.
fn odd_of(stage: Option<&str>, points: &[Point]) -> Vec<Odd> {
    let judge = |what: Measured, number: fn(&Point) -> Option<f64>, least: f64| {
        let summary = summary(points, number)?;
        let last = summary.last?;
        let before = summary.values.len() - 1;
        let before = &summary.values[before.saturating_sub(BEFORE)..before];
        let (median, deviations) = outlier(before, last, least)?;
        let stage = stage.map(str::to_owned);
        Some(Odd { stage, what, last, median, deviations, earlier: before.len() })
    };
    // Differences of tenths of a second or of kilobytes are noise.
    let seconds = judge(Measured::Seconds, |point| point.seconds, 0.1);
    let bytes = judge(Measured::Bytes, |point| point.bytes, 1_024.0);
    let files = judge(Measured::Files, |point| point.files, 1.0);
    seconds.into_iter().chain(bytes).chain(files).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(seconds: &[f64]) -> Vec<Point> {
        let last = seconds.len() - 1;
        let point = |(number, seconds): (usize, &f64)| Point {
            outcome: Some(Outcome::Success),
            is_good: true,
            seconds: Some(*seconds),
            bytes: None,
            files: None,
            is_last: number == last,
        };
        seconds.iter().enumerate().map(point).collect()
    }

    #[test]
    fn numbers_are_those_of_the_textbook() {
        let values: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!(quantile(&values, 0.5), Some(10.5));
        assert_eq!(quantile(&values, 0.95), Some(19.0));
        assert_eq!((quantile(&[], 0.5), quantile(&[7.0], 0.95)), (None, Some(7.0)));
        let mut points = points(&values);
        (points[19].outcome, points[19].is_good) = (Some(Outcome::Failure), false);
        (points[0].outcome, points[0].is_good) = (Some(Outcome::Cancelled), false);
        let summary = summary(&points, |point| point.seconds).unwrap();
        assert_eq!((summary.values.len(), summary.last), (18, None));
        assert_eq!(success_rate(&points), Some(18.0 / 19.0));
    }

    #[test]
    fn what_is_far_from_the_rest_is_odd_and_what_varies_is_not() {
        let odd = |seconds: &[f64]| odd_of(None, &points(seconds)).pop();
        let usual = [10.0, 11.0, 9.0, 10.5, 9.5, 10.0, 10.2, 9.8, 10.0];
        let with = |last: f64| [&usual[..], &[last]].concat();
        let found = odd(&with(20.0)).unwrap();
        assert_eq!((found.median, found.earlier), (10.0, 9));
        assert!(found.deviations > 10.0, "{found:?}");
        assert!(odd(&with(2.0)).unwrap().deviations < -10.0);
        assert_eq!(odd(&with(11.5)), None);
        // Two earlier outliers do not hide it.
        assert!(odd(&[&usual[..], &[60.0, 60.0, 20.0]].concat()).is_some());
        // Too few values, or all the same and hardly more now.
        assert_eq!(odd(&[1.0, 1.0, 1.0, 50.0]), None);
        assert_eq!(odd(&[[1.0; 9].as_slice(), &[1.1]].concat()), None);
        // Values from long ago do not count.
        let long_ago = [[100.0; 30].as_slice(), &[1.0; 30], &[100.0]].concat();
        assert!(odd(&long_ago).is_some());
    }
}
