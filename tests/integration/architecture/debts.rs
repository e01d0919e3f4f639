//! Lists of what breaks a rule today. They may only shrink.

use std::collections::BTreeMap;

/// Fails unless what was found is exactly what the list admits.
pub fn compare(rule: &str, admitted: &[(&str, usize)], found: &BTreeMap<String, usize>) {
    let wrong = differences(admitted, found);
    assert!(wrong.is_empty(), "{rule}:\n{}", wrong.join("\n"));
}

fn differences(admitted: &[(&str, usize)], found: &BTreeMap<String, usize>) -> Vec<String> {
    let admitted: BTreeMap<&str, usize> = admitted.iter().copied().collect();
    let grown = found.iter().filter_map(|(name, &count)| {
        let most = admitted.get(name.as_str()).copied().unwrap_or_default();
        (count > most)
            .then(|| format!("`{name}`: {count}, and the list admits {most}; mend it, do not raise the number"))
    });
    let shrunk = admitted.iter().filter_map(|(name, &most)| {
        let count = found.get(*name).copied().unwrap_or_default();
        (count < most)
            .then(|| format!("`{name}`: {count} are left; lower the number from {most}, or remove the line for 0"))
    });
    grown.chain(shrunk).collect()
}

#[test]
fn a_debt_may_neither_grow_nor_be_overstated() {
    let found = |count| BTreeMap::from([("a".to_owned(), count)]);
    assert_eq!(differences(&[("a", 2)], &found(2)), Vec::<String>::new());
    assert_eq!(differences(&[("a", 2)], &found(3)).len(), 1);
    assert_eq!(differences(&[("a", 2)], &found(1)).len(), 1);
    assert_eq!(differences(&[], &found(1)).len(), 1);
    assert_eq!(differences(&[("b", 1)], &BTreeMap::new()).len(), 1);
}
