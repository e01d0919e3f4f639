//! The JSON Canonicalization Scheme (RFC 8785) for the values that a record may hold.
//!
//! Two restrictions make it short and make every implementation agree: keys are ASCII (so that sorting by UTF-16 code
//! units is sorting by bytes) and numbers are integers that a double holds exactly (so that nobody prints a float).

use serde_json::{Map, Value};

/// Integers beyond ±(2^53 − 1) are not exact in the readers that treat every number as a double (I-JSON, RFC 7493).
pub(in crate::audit) const MAX_INTEGER: u64 = (1 << 53) - 1;

/// Deeper values are refused. Parsers of readers may stop at 128 levels, and no record of tl is deep.
const MAX_DEPTH: usize = 64;

/// Why a value has no canonical form here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// A key that is not ASCII.
    #[error("the key `{0}` is not ASCII")]
    Key(String),
    /// A number with a fraction or an exponent.
    #[error("{0} is not an integer")]
    Float(String),
    /// An integer that a double does not hold exactly.
    #[error("{0} is beyond ±9007199254740991")]
    Integer(String),
    /// Arrays and objects nested too deeply.
    #[error("it is nested deeper than {MAX_DEPTH} levels")]
    Depth,
}

/// Appends the canonical form of an object.
pub(in crate::audit) fn write_object(out: &mut Vec<u8>, map: &Map<String, Value>) -> Result<(), JsonError> {
    object(out, map, 0)
}

/// Appends a string with its quotes.
pub(in crate::audit) fn write_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (index, &byte) in bytes.iter().enumerate() {
        // Section 3.2.2.2: everything from U+0020 on stands as it is, except the quote and the backslash.
        let short = match byte {
            b'"' | b'\\' => byte,
            0x08 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            0x0c => b'f',
            b'\r' => b'r',
            0..0x20 => 0,
            _ => continue,
        };
        out.extend_from_slice(&bytes[copied..index]);
        copied = index + 1;
        if short == 0 {
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
        } else {
            out.extend_from_slice(&[b'\\', short]);
        }
    }
    out.extend_from_slice(&bytes[copied..]);
    out.push(b'"');
}

/// Appends a non-negative integer.
pub(in crate::audit) fn write_u64(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b"0123456789"[usize::try_from(rest % 10).expect("a digit is small")];
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

fn value(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), JsonError> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => integer(out, number)?,
        Value::String(text) => write_string(out, text),
        Value::Array(items) => {
            if depth == MAX_DEPTH {
                return Err(JsonError::Depth);
            }
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                self::value(out, item, depth + 1)?;
            }
            out.push(b']');
        }
        Value::Object(map) => object(out, map, depth)?,
    }
    Ok(())
}

fn object(out: &mut Vec<u8>, map: &Map<String, Value>, depth: usize) -> Result<(), JsonError> {
    if depth == MAX_DEPTH {
        return Err(JsonError::Depth);
    }
    let mut members: Vec<(&String, &Value)> = map.iter().collect();
    members.sort_unstable_by_key(|(key, _)| *key);
    out.push(b'{');
    for (index, (key, item)) in members.into_iter().enumerate() {
        if !key.is_ascii() {
            return Err(JsonError::Key(key.clone()));
        }
        if index > 0 {
            out.push(b',');
        }
        write_string(out, key);
        out.push(b':');
        value(out, item, depth + 1)?;
    }
    out.push(b'}');
    Ok(())
}

fn integer(out: &mut Vec<u8>, number: &serde_json::Number) -> Result<(), JsonError> {
    let (negative, magnitude) = match (number.as_u64(), number.as_i64()) {
        (Some(magnitude), _) => (false, magnitude),
        (None, Some(signed)) => (true, signed.unsigned_abs()),
        (None, None) => return Err(JsonError::Float(number.to_string())),
    };
    if magnitude > MAX_INTEGER {
        return Err(JsonError::Integer(number.to_string()));
    }
    if negative {
        out.push(b'-');
    }
    write_u64(out, magnitude);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn canonical(value: &Value) -> Result<String, JsonError> {
        let mut out = Vec::new();
        super::value(&mut out, value, 0)?;
        Ok(String::from_utf8(out).unwrap())
    }

    /// The vectors of RFC 8785 (section 3.2.2 and appendix) and of its test suite, without their floats and with their
    /// non-ASCII keys refused.
    #[test]
    fn vectors_of_the_rfc() {
        let text = r#"{"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}"#;
        let expected = r#"{"literals":[null,true,false],"string":"€$\u000f\nA'B\"\\\\\"/"}"#;
        assert_eq!(canonical(&serde_json::from_str(text).unwrap()).unwrap(), expected);
        let arrays = json!([56, { "d": true, "10": null, "1": [] }]);
        assert_eq!(canonical(&arrays).unwrap(), r#"[56,{"1":[],"10":null,"d":true}]"#);
        let structures = json!({ "1": { "f": { "f": "hi", "F": 5 }, "\n": 56 }, "10": {}, "": "empty", "a": {},
            "111": [{ "e": "yes", "E": "no" }], "A": {} });
        let expected =
            r#"{"":"empty","1":{"\n":56,"f":{"F":5,"f":"hi"}},"10":{},"111":[{"E":"no","e":"yes"}],"A":{},"a":{}}"#;
        assert_eq!(canonical(&structures).unwrap(), expected);
        let unicode = json!({ "Unnormalized Unicode": "A\u{030a}" });
        assert_eq!(canonical(&unicode).unwrap(), "{\"Unnormalized Unicode\":\"A\u{030a}\"}");
        let weird = json!("\u{08}\u{0c}\t\r\u{0}\u{1b}\u{7f}\u{80}</script>\u{2028}😂\u{fb33}");
        let expected = "\"\\b\\f\\t\\r\\u0000\\u001b\u{7f}\u{80}</script>\u{2028}😂\u{fb33}\"";
        assert_eq!(canonical(&weird).unwrap(), expected);
    }

    #[test]
    fn integers_are_exact_or_refused() {
        for (number, text) in [
            (json!(0), "0"),
            (json!(-1), "-1"),
            (json!(9_007_199_254_740_991_u64), "9007199254740991"),
            (json!(-9_007_199_254_740_991_i64), "-9007199254740991"),
        ] {
            assert_eq!(canonical(&number).unwrap(), text);
        }
        for number in [json!(9_007_199_254_740_992_u64), json!(-9_007_199_254_740_992_i64), json!(u64::MAX)] {
            assert_eq!(canonical(&number), Err(JsonError::Integer(number.to_string())));
        }
        for text in ["1.5", "1e3", "-0", "1.0"] {
            let number: Value = serde_json::from_str(text).unwrap();
            assert!(matches!(canonical(&number), Err(JsonError::Float(_))), "{text}");
        }
    }

    #[test]
    fn keys_and_depth_are_limited() {
        assert_eq!(canonical(&json!({ "é": 1 })), Err(JsonError::Key("é".to_owned())));
        let mut deep = json!(1);
        for _ in 0..64 {
            deep = json!([deep]);
        }
        assert!(canonical(&deep).is_ok());
        assert_eq!(canonical(&json!({ "a": deep })), Err(JsonError::Depth));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-(1_i64 << 53) + 1..1 << 53).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec(("[ -~\n]{0,6}", inner), 0..6)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn canonical_form_is_one_line_and_a_fixed_point(value in any_json()) {
            let text = canonical(&value).unwrap();
            prop_assert!(!text.bytes().any(|b| b < 0x20));
            let again: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&again, &value);
            prop_assert_eq!(canonical(&again).unwrap(), text);
        }
    }
}
