//! The combinations of a matrix.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

/// Every combination of the values of the lists, in the order of the file, the last list turning fastest; without those
/// that an entry of `exclude` fits. Then each entry of `include` is added: to every combination whose values of the lists
/// it does not contradict, or, where there is none, as one of its own. What a combination lacks is `null`.
pub fn combinations(
    lists: &[(String, Vec<Json>)],
    include: &[Map<String, Json>],
    exclude: &[Map<String, Json>],
) -> Vec<Map<String, Json>> {
    let mut all = if lists.is_empty() { Vec::new() } else { vec![Map::new()] };
    for (name, values) in lists {
        let longer = |shorter: &Map<String, Json>| {
            let shorter = shorter.clone();
            values.iter().map(move |value| {
                let mut longer = shorter.clone();
                longer.insert(name.clone(), value.clone());
                longer
            })
        };
        all = all.iter().flat_map(longer).collect();
    }
    let fits = |entry: &Map<String, Json>, whole: &Map<String, Json>| {
        entry.iter().all(|(name, value)| whole.get(name).is_none_or(|own| own == value))
    };
    all.retain(|whole| !exclude.iter().any(|entry| fits(entry, whole)));
    let bare = all.clone();
    for entry in include {
        let mut is_new = true;
        for (whole, bare) in all.iter_mut().zip(&bare) {
            if fits(entry, bare) {
                is_new = false;
                whole.extend(entry.clone());
            }
        }
        if is_new {
            all.push(entry.clone());
        }
    }
    let added = include.iter().flat_map(Map::keys);
    let names: BTreeSet<&String> = lists.iter().map(|(name, _)| name).chain(added).collect();
    for whole in &mut all {
        for name in &names {
            whole.entry(name.as_str()).or_insert(Json::Null);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(lists: Json, include: Json, exclude: Json) -> Json {
        let lists: Vec<(String, Vec<Json>)> = lists
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, values)| (name.clone(), values.as_array().unwrap().clone()))
            .collect();
        let maps = |value: Json| -> Vec<Map<String, Json>> { serde_json::from_value(value).unwrap() };
        serde_json::to_value(combinations(&lists, &maps(include), &maps(exclude))).unwrap()
    }

    #[test]
    fn lists_are_multiplied_in_the_order_of_the_file() {
        assert_eq!(
            of(json!({ "a": [1, 2], "b": ["x", "y"] }), json!([]), json!([])),
            json!([{ "a": 1, "b": "x" }, { "a": 1, "b": "y" }, { "a": 2, "b": "x" }, { "a": 2, "b": "y" }])
        );
        assert_eq!(of(json!({ "a": [1], "b": [] }), json!([]), json!([])), json!([]));
        assert_eq!(of(json!({}), json!([]), json!([])), json!([]));
    }

    #[test]
    fn an_exclude_takes_out_what_it_fits() {
        assert_eq!(
            of(json!({ "a": [1, 2], "b": ["x", "y"] }), json!([]), json!([{ "a": 1 }, { "a": 2, "b": "y" }])),
            json!([{ "a": 2, "b": "x" }])
        );
    }

    #[test]
    fn an_include_adds_to_what_it_fits_or_is_one_of_its_own() {
        assert_eq!(
            of(json!({ "a": [1, 2] }), json!([{ "a": 1, "c": true }, { "d": 0 }, { "a": 3, "c": false }]), json!([])),
            json!([
                { "a": 1, "c": true, "d": 0 },
                { "a": 2, "d": 0, "c": null },
                { "a": 3, "c": false, "d": null }
            ])
        );
        assert_eq!(
            of(json!({}), json!([{ "a": 1 }, { "b": 2 }]), json!([])),
            json!([{ "a": 1, "b": null }, { "b": 2, "a": null }])
        );
    }
}
