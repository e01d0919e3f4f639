//! Whether a run handled as much as runs of its file usually do. A backup that shrank to nothing, or that doubled over night, ends
//! well all the same: something has to say so.

use super::stats::{Measured, outlier, quantile};
use crate::diagnostic::{Diagnostic, codes};
use crate::event::Counts;
use crate::state::RunSize;
use crate::value::{Percent, human_bytes};

/// A warning if the files or the bytes of a run are odd. `earlier` are the runs of the file that counted as a success, newest first.
///
/// With a limit of its file, a run is odd if it differs by more than that from the median of the earlier ones. Without one, the rule
/// of [`stats`](super::stats()) decides, and a run that is odd after one that was odd in the same way gives no further warning.
pub(crate) fn odd_size(earlier: &[RunSize], now: &Counts, limit: Option<Percent>) -> Option<Diagnostic> {
    let bytes = (Measured::Bytes, now.bytes, size_bytes as fn(&RunSize) -> Option<u64>, 1_024.0);
    let files = (Measured::Files, now.files, size_files as fn(&RunSize) -> Option<u64>, 1.0);
    let judged = [bytes, files].into_iter().find_map(|(what, now, of, least)| {
        let (now, before) = (now? as f64, earlier.iter().filter_map(of).map(|size| size as f64).collect::<Vec<_>>());
        let median = match limit {
            Some(limit) => quantile(&before, 0.5).filter(|median| (now - median).abs() > median * limit.part())?,
            None => {
                let was_odd = before.split_first().is_some_and(|(last, older)| {
                    let odd = outlier(older, *last, least);
                    let same_way = |median: f64| (*last > median) == (now > median);
                    odd.is_some_and(|(median, _)| same_way(median))
                });
                outlier(&before, now, least).filter(|_| !was_odd)?.0
            }
        };
        Some((what, now, median, before.len()))
    });
    let (what, now, median, runs) = judged?;
    let words = |number: f64| match what {
        Measured::Bytes => human_bytes(number),
        _ => format!("{number:.0} file{}", if number > 1.5 { "s" } else { "" }),
    };
    let does = if what == Measured::Bytes { "this run delivered" } else { "this run collected" };
    let message = format!(
        "{does} {}; {} are usual, by {runs} earlier run{}",
        words(now),
        words(median),
        if runs == 1 { "" } else { "s" }
    );
    let help = "see whether the sources are whole and meant to be so; `tl stats` shows the runs before";
    Some(Diagnostic::warning(codes::TL0785, message).help(help))
}

fn size_bytes(size: &RunSize) -> Option<u64> {
    size.bytes
}

fn size_files(size: &RunSize) -> Option<u64> {
    size.files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_far_from_usual_is_told_once() {
        let runs = |bytes: &[u64]| -> Vec<RunSize> {
            bytes.iter().map(|bytes| RunSize { files: Some(3), bytes: Some(*bytes) }).collect()
        };
        let odd = |earlier: &[u64], bytes: u64, limit: Option<&str>| {
            let now = Counts { files: Some(3), bytes: Some(bytes), ..Counts::default() };
            odd_size(&runs(earlier), &now, limit.map(|limit| limit.parse().unwrap())).map(|odd| odd.message)
        };
        let usual = [100_000; 9];
        assert_eq!(odd(&usual, 101_000, None), None);
        let told = odd(&usual, 10, None).unwrap();
        assert_eq!(told, "this run delivered 10 B; 97.7 KiB are usual, by 9 earlier runs");
        // Seven earlier runs say too little, without a limit.
        assert_eq!(odd(&usual[..7], 10, None), None);
        // The run before was as odd, or odd the other way.
        let after = |last: u64| [&[last], &usual[..]].concat();
        assert_eq!(odd(&after(10), 10, None), None);
        assert!(odd(&after(900_000), 10, None).is_some());
        // A limit needs one earlier run, and warns each time.
        assert_eq!(odd(&[], 10, Some("50%")), None);
        assert_eq!(odd(&[100], 51, Some("50%")), None);
        assert!(odd(&[100], 49, Some("50%")).is_some());
        assert!(odd(&after(10), 10, Some("50%")).is_some());
        assert!(odd(&[100], 151, Some("50%")).is_some());
    }

    #[test]
    fn files_count_where_bytes_do_not_differ() {
        let earlier = vec![RunSize { files: Some(100), bytes: None }; 8];
        let now = |files| Counts { files: Some(files), bytes: Some(1), ..Counts::default() };
        assert_eq!(odd_size(&earlier, &now(101), None), None);
        let told = odd_size(&earlier, &now(1), None).unwrap().message;
        assert_eq!(told, "this run collected 1 file; 100 files are usual, by 8 earlier runs");
    }
}
