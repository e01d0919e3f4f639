//! Suggests a name for a misspelt one.

/// The closest candidate, if one is close enough.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    let limit = (length / 3).max(1);
    // In a word of two letters, a changed letter makes another word: `id` does not mean `if`.
    let is_near = |distance, candidate: &str| {
        distance <= limit && (length > 2 || distance == 0 || candidate.chars().count() != length)
    };
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| is_near(*distance, candidate))
        .min()
        .map(|(_, candidate)| candidate)
}

/// The edit distance of two words; a swap of neighbours is one edit (optimal string alignment). Case is ignored, and `_`
/// equals `-`.
fn distance(a: &str, b: &str) -> usize {
    let fold = |text: &str| text.to_lowercase().replace('_', "-").chars().collect::<Vec<_>>();
    let (a, b) = (fold(a), fold(b));
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let best = replace.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if swap { best.min(rows[i - 2][j - 2] + 1) } else { best }
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn close_words_are_offered_and_far_ones_are_not() {
        let keys = ["artifact", "store", "recipients-file", "needs"];
        assert_eq!(did_you_mean("artifakt", keys), Some("artifact"));
        assert_eq!(did_you_mean("recipients_file", keys), Some("recipients-file"));
        assert_eq!(did_you_mean("sotre", keys), Some("store"));
        assert_eq!(did_you_mean("need", keys), Some("needs"));
        assert_eq!(did_you_mean("bucket", keys), None);
        assert_eq!(did_you_mean("id", ["if", "uses"]), None);
        assert_eq!(did_you_mean("ru", ["run"]), Some("run"));
    }
}
