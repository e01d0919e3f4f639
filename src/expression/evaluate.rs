//! Evaluates expressions, within a budget.
//!
//! The crate `cel` has no budget of its own. An expression can loop only over its data, so an upper bound of its steps is
//! computed before it starts, from its tree and the size of its data.

use crate::diagnostic::codes;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use cel::common::ast::{EntryExpr, Expr};
use cel::objects::{Key, Map};
use cel::{Context, Env, IdedExpr, Value};
use serde_json::{Number, Value as Json};

use super::ExpressionError;
use super::check::{RECORDS, uses_status_function};
use super::template::{Expression, Part, Template};

/// CEL's standard library. Kept, since building it costs more than most evaluations.
static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// How many nodes an evaluation may visit.
const MAX_STEPS: f64 = 1e6;
/// How large a value may be, in bytes.
const MAX_VALUE_BYTES: usize = 1 << 20;

/// The results of the status functions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Status {
    /// Every need ended in success or warning.
    pub success: bool,
    /// A need failed.
    pub failure: bool,
    /// The run is being cancelled.
    pub cancelled: bool,
}

/// The values of the names that an expression may use.
#[derive(Clone, Debug, Default)]
pub struct Values {
    names: BTreeMap<String, Arc<Json>>,
    status: Status,
}

impl Values {
    /// Adds a name.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Arc<Json>>) -> Self {
        self.names.insert(name.to_owned(), value.into());
        self
    }

    /// Whether an expression can be evaluated now: each context that it names is here, and it calls no status function.
    pub fn know(&self, expression: &Expression) -> bool {
        let is_here = |root: &String| self.names.contains_key(root) || !RECORDS.contains(&root.as_str());
        !uses_status_function(expression) && expression.roots().iter().all(is_here)
    }

    /// Sets the results of the status functions.
    #[must_use]
    pub fn with_status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }
}

/// The value of a text: the value of the expression if the text is one whole expression, else a string.
pub fn resolve(template: &Template, values: &Values) -> Result<Json, ExpressionError> {
    match template.parts() {
        [Part::Expression(expression)] => evaluate(expression, values),
        [Part::Text(text)] => Ok(Json::String(text.clone())),
        parts => {
            let mut whole = String::new();
            for part in parts {
                match part {
                    Part::Text(text) => whole.push_str(text),
                    Part::Expression(expression) => match evaluate(expression, values)? {
                        Json::String(text) => whole.push_str(&text),
                        scalar => whole.push_str(&scalar.to_string()),
                    },
                }
            }
            Ok(Json::String(whole))
        }
    }
}

/// The value of an expression. A checked expression fails here only because of its data: an index, a division, a
/// conversion, or the budget.
pub fn evaluate(expression: &Expression, values: &Values) -> Result<Json, ExpressionError> {
    let failed = |code, message: String| ExpressionError::new(code, expression.place(), message);
    let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
    let mut elements = 1;
    for name in expression.roots() {
        if let Some(value) = values.names.get(&name) {
            elements += count(value);
            context.add_variable_from_value(name, to_cel(value));
        }
    }
    // The first bound limits the length of every list; the second uses it to limit the loops over such lists.
    let longest = elements as f64 + steps(&expression.ast, 1.0);
    if steps(&expression.ast, longest) > MAX_STEPS {
        return Err(failed(codes::TL0309, "this expression would take too many steps".to_owned())
            .help("compute it in a `run` stage and use its output"));
    }
    let Status { success, failure, cancelled } = values.status;
    for (name, answer) in [("success", success), ("failure", failure), ("cancelled", cancelled), ("always", true)] {
        context
            .add_function(name, move || answer)
            .expect("no status function shares its name with one of the standard library");
    }
    let value = Value::resolve(&expression.ast, &context)
        .map_err(|error| failed(codes::TL0310, format!("this expression has no value: {error}")))?;
    let value =
        to_json(&value).ok_or_else(|| failed(codes::TL0310, "the value is not one that JSON knows".to_owned()))?;
    if weight(&value) > MAX_VALUE_BYTES {
        return Err(failed(codes::TL0309, format!("the value is larger than {MAX_VALUE_BYTES} bytes")));
    }
    Ok(value)
}

fn to_cel(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(bool) => Value::Bool(*bool),
        // Every whole number is an int: CEL's arithmetic does not mix int and uint.
        Json::Number(number) => match number.as_i64() {
            Some(int) => Value::Int(int),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(Arc::new(text.clone())),
        Json::Array(items) => Value::List(Arc::new(items.iter().map(to_cel).collect())),
        Json::Object(map) => {
            let map: HashMap<Key, Value> =
                map.iter().map(|(key, value)| (Key::String(Arc::new(key.clone())), to_cel(value))).collect();
            Value::Map(Map { map: Arc::new(map) })
        }
    }
}

fn to_json(value: &Value) -> Option<Json> {
    Some(match value {
        Value::Null => Json::Null,
        Value::Bool(bool) => Json::Bool(*bool),
        Value::Int(int) => Json::from(*int),
        Value::UInt(uint) => Json::from(*uint),
        Value::Float(float) => Json::Number(Number::from_f64(*float)?),
        Value::String(text) => Json::String(text.to_string()),
        Value::List(items) => Json::Array(items.iter().map(to_json).collect::<Option<_>>()?),
        Value::Map(map) => {
            let mut entries = BTreeMap::new();
            for (key, value) in map.map.iter() {
                let Key::String(key) = key else { return None };
                entries.insert(key.to_string(), to_json(value)?);
            }
            Json::Object(entries.into_iter().collect())
        }
        _ => return None,
    })
}

/// How many elements a value holds. No list in an expression is longer than this times the size of the expression.
fn count(value: &Json) -> usize {
    match value {
        Json::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Json::Object(map) => 1 + map.values().map(count).sum::<usize>(),
        _ => 1,
    }
}

fn weight(value: &Json) -> usize {
    match value {
        Json::String(text) => text.len(),
        Json::Array(items) => items.iter().map(weight).sum(),
        Json::Object(map) => map.iter().map(|(key, value)| key.len() + weight(value)).sum(),
        _ => 8,
    }
}

/// An upper bound of the nodes that an evaluation visits, if no list is longer than `longest` times the size of the
/// expression that gives it. A float, since the bound of a hostile expression overflows any integer.
fn steps(node: &IdedExpr, longest: f64) -> f64 {
    1.0 + match &node.expr {
        Expr::Select(select) => steps(&select.operand, longest),
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).map(|n| steps(n, longest)).sum(),
        Expr::List(list) => list.elements.iter().map(|n| steps(n, longest)).sum(),
        Expr::Map(map) => map
            .entries
            .iter()
            .map(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => steps(&entry.key, longest) + steps(&entry.value, longest),
                EntryExpr::StructField(field) => steps(&field.value, longest),
            })
            .sum(),
        Expr::Comprehension(it) => {
            let range = steps(&it.iter_range, longest);
            range + longest * range * (steps(&it.loop_cond, longest) + steps(&it.loop_step, longest))
        }
        _ => 0.0,
    }
}

/// Whether `matches` accepts a pattern.
pub(super) fn is_pattern(pattern: &str) -> bool {
    let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
    context.add_variable_from_value("pattern", pattern);
    ENVIRONMENT.compile("''.matches(pattern)").is_ok_and(|program| program.execute(&context).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn value(text: &str) -> Result<Json, ExpressionError> {
        let values = Values::default()
            .with("inputs", json!({ "n": 3, "name": "a", "list": ["x", "y"], "half": 0.5 }))
            .with("big", Json::Array(vec![json!("z"); 2_000]))
            .with_status(Status { success: true, ..Status::default() });
        resolve(&Template::parse(text)?, &values)
    }

    #[test]
    fn values_keep_their_type_when_whole() {
        for (text, expected) in [
            ("${{ inputs.n + 1 }}", json!(4)),
            ("n=${{ inputs.n }}, ${{ inputs.name }}", json!("n=3, a")),
            ("${{ inputs.list.map(x, x + '!') }}", json!(["x!", "y!"])),
            ("${{ success() && !failure() }}", json!(true)),
            ("${{ inputs.half }}", json!(0.5)),
            ("${{ inputs.list[1] }}", json!("y")),
            ("${{ {'a': inputs.n} }}", json!({ "a": 3 })),
            ("${{ inputs.name.matches('^a$') }}", json!(true)),
        ] {
            assert_eq!(value(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn data_that_does_not_fit_is_a_mistake() {
        for text in ["${{ inputs.list[7] }}", "${{ inputs.n / 0 }}", "${{ int(inputs.name) }}"] {
            assert_eq!(value(text).unwrap_err().code, codes::TL0310, "{text}");
        }
    }

    #[test]
    fn the_deepest_expression_fits_a_thread() {
        let chain = |operands| format!("${{{{ {} }}}}", vec!["inputs.n"; operands].join(" + "));
        assert_eq!(value(&chain(60)).unwrap_err().code, codes::TL0309);
        assert_eq!(value(&chain(2_000)).unwrap_err().code, codes::TL0309);
        // As much as the threads of tokio have; an overflow would end the whole process.
        let small = std::thread::Builder::new().stack_size(2 << 20);
        let found = small.spawn(move || value(&chain(super::super::template::MAX_LEVELS - 1))).unwrap().join().unwrap();
        assert_eq!(found, Ok(json!(141)));
    }

    #[test]
    fn the_budget_ends_what_would_not_end() {
        let nested = "${{ big.map(a, big.map(b, big.map(c, a + b + c))) }}";
        assert_eq!(value(nested).unwrap_err().code, codes::TL0309);
        assert!(value("${{ big.filter(a, a == 'z').size() }}").is_ok());
    }
}
