//! The types of operators and functions.

use cel::common::ast::operators as op;

use super::check::with_article;
use super::{Type, did_you_mean};
use crate::diagnostic::{Code, codes};

/// An error of operands, without its place.
pub(super) struct Problem {
    pub(super) code: Code,
    pub(super) message: String,
    pub(super) help: String,
}

type Checked = Result<Type, Problem>;

fn mismatch(message: String) -> Problem {
    Problem { code: codes::TL0303, message, help: String::new() }
}

/// A function: its name, whether it is called on a receiver, its parameters (the receiver first), and its result.
type Signature = (&'static str, bool, &'static [Form], Type);

/// What a parameter accepts.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Scalar,
    Number,
    Sized,
}

const FUNCTIONS: [Signature; 9] = [
    ("size", true, &[Form::Sized], Type::Int),
    ("size", false, &[Form::Sized], Type::Int),
    ("contains", true, &[Form::Text, Form::Text], Type::Bool),
    ("startsWith", true, &[Form::Text, Form::Text], Type::Bool),
    ("endsWith", true, &[Form::Text, Form::Text], Type::Bool),
    ("matches", true, &[Form::Text, Form::Text], Type::Bool),
    ("string", false, &[Form::Scalar], Type::String),
    ("int", false, &[Form::Scalar], Type::Int),
    ("double", false, &[Form::Number], Type::Double),
];

impl Form {
    fn accepts(self, kind: &Type) -> bool {
        match (self, kind) {
            (_, Type::Any) => true,
            (Self::Text, kind) => *kind == Type::String,
            (Self::Scalar, kind) => matches!(kind, Type::Bool | Type::Int | Type::Double | Type::String),
            (Self::Number, kind) => matches!(kind, Type::Int | Type::Double | Type::String),
            (Self::Sized, kind) => matches!(kind, Type::String | Type::List(_) | Type::Map(_)),
        }
    }
}

/// The result type of an operator. `None` if the name is not an operator.
pub(super) fn operator(name: &str, kinds: &[Type]) -> Option<Checked> {
    let symbol = symbol(name)?;
    if name != op::ADD
        && name != op::CONDITIONAL
        && let Some(kind) = kinds.iter().find(|kind| matches!(kind, Type::Secret | Type::Artifact))
    {
        let message = format!("{} can only be passed on, not used with `{symbol}`", with_article(kind));
        return Some(Err(Problem { code: codes::TL0304, message, help: String::new() }));
    }
    Some(match kinds {
        [only] => unary(name, symbol, only),
        [left, right] => binary(name, symbol, left, right),
        [_, yes, no] if name == op::CONDITIONAL => conditional(yes, no),
        _ => Err(mismatch(format!("`{symbol}` does not take {} operands", kinds.len()))),
    })
}

fn symbol(name: &str) -> Option<&'static str> {
    Some(match name {
        op::CONDITIONAL => "? :",
        op::LOGICAL_AND => "&&",
        op::LOGICAL_OR => "||",
        op::LOGICAL_NOT | op::NOT_STRICTLY_FALSE => "!",
        op::ADD => "+",
        op::SUBSTRACT | op::NEGATE => "-",
        op::MULTIPLY => "*",
        op::DIVIDE => "/",
        op::MODULO => "%",
        op::EQUALS => "==",
        op::NOT_EQUALS => "!=",
        op::LESS => "<",
        op::LESS_EQUALS => "<=",
        op::GREATER => ">",
        op::GREATER_EQUALS => ">=",
        op::INDEX => "[]",
        op::IN => "in",
        _ => return None,
    })
}

fn unary(name: &str, symbol: &str, kind: &Type) -> Checked {
    match (name, kind) {
        (op::LOGICAL_NOT | op::NOT_STRICTLY_FALSE, Type::Bool | Type::Any) => Ok(Type::Bool),
        (op::NEGATE, Type::Int | Type::Double | Type::Any) => Ok(kind.clone()),
        _ => Err(mismatch(format!("`{symbol}` cannot be used with {}", with_article(kind)))),
    }
}

fn binary(name: &str, symbol: &str, left: &Type, right: &Type) -> Checked {
    let refused =
        || mismatch(format!("`{symbol}` cannot be used with {} and {}", with_article(left), with_article(right)));
    let either_any = *left == Type::Any || *right == Type::Any;
    match name {
        op::LOGICAL_AND | op::LOGICAL_OR => {
            let ok = [left, right].into_iter().all(|kind| matches!(kind, Type::Bool | Type::Any));
            if ok { Ok(Type::Bool) } else { Err(refused()) }
        }
        op::EQUALS | op::NOT_EQUALS => {
            if left.fits(right) || right.fits(left) || *left == Type::Any {
                Ok(Type::Bool)
            } else {
                Err(mismatch(format!("{} never equals {}", with_article(left), with_article(right))))
            }
        }
        op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS => {
            let number = |kind: &Type| matches!(kind, Type::Int | Type::Double);
            let ok = either_any || (number(left) && number(right)) || (*left == Type::String && left == right);
            if ok { Ok(Type::Bool) } else { Err(refused()) }
        }
        op::INDEX => match (left, right) {
            (Type::List(item), Type::Int | Type::Any) => Ok((**item).clone()),
            (Type::Map(value), Type::String | Type::Any) => Ok((**value).clone()),
            (Type::Any, _) => Ok(Type::Any),
            _ => Err(mismatch(format!("{} cannot be indexed by {}", with_article(left), with_article(right)))),
        },
        op::IN => match right {
            Type::List(item) if left.fits(item) || item.fits(left) => Ok(Type::Bool),
            Type::Map(_) if matches!(left, Type::String | Type::Any) => Ok(Type::Bool),
            Type::Any => Ok(Type::Bool),
            _ => Err(refused()),
        },
        _ => arithmetic(name, left, right).ok_or_else(refused),
    }
}

fn arithmetic(name: &str, left: &Type, right: &Type) -> Option<Type> {
    match (left, right) {
        (Type::Any, kind) | (kind, Type::Any) if !matches!(kind, Type::Secret | Type::Artifact) => Some(kind.clone()),
        (Type::Int, Type::Int) => Some(Type::Int),
        // CEL has no mixed arithmetic: `1 + 1.5` is an error at run time, so it is one here.
        (Type::Double, Type::Double) if name != op::MODULO => Some(Type::Double),
        (Type::String, Type::String) if name == op::ADD => Some(Type::String),
        (Type::String | Type::Secret, Type::String | Type::Secret) if name == op::ADD => Some(Type::Secret),
        (Type::List(_), Type::List(_)) if name == op::ADD => Some(left.clone().join(right.clone())),
        _ => None,
    }
}

fn conditional(yes: &Type, no: &Type) -> Checked {
    let joined = yes.clone().join(no.clone());
    if joined == Type::Any && *yes != Type::Any && *no != Type::Any {
        return Err(mismatch(format!("the two sides of `:` differ: {} and {}", with_article(yes), with_article(no))));
    }
    Ok(joined)
}

/// The result type of a function.
pub(super) fn function(name: &str, receiver: bool, kinds: &[Type]) -> Checked {
    let named: Vec<&Signature> = FUNCTIONS.iter().filter(|(known, ..)| *known == name).collect();
    if named.is_empty() {
        let help = did_you_mean(name, FUNCTIONS.iter().map(|(known, ..)| *known)).map_or_else(
            || {
                "there are `size`, `contains`, `startsWith`, `endsWith`, `matches`, `string`, `int` and `double`"
                    .to_owned()
            },
            |near| format!("did you mean `{near}`?"),
        );
        return Err(Problem { code: codes::TL0308, message: format!("unknown function `{name}`"), help });
    }
    if let Some(kind) = kinds.iter().find(|kind| matches!(kind, Type::Secret | Type::Artifact)) {
        let message = format!("{} can only be passed on, not given to `{name}`", with_article(kind));
        return Err(Problem { code: codes::TL0304, message, help: String::new() });
    }
    let Some((_, _, parameters, result)) = named.iter().find(|(_, as_receiver, ..)| *as_receiver == receiver) else {
        let (has, form) =
            if receiver { ("nothing", format!("{name}(x)")) } else { ("a value", format!("x.{name}(…)")) };
        let message = format!("`{name}` has {has} before it");
        return Err(Problem { code: codes::TL0308, message, help: format!("write `{form}`") });
    };
    let fits = parameters.len() == kinds.len() && parameters.iter().zip(kinds).all(|(p, kind)| p.accepts(kind));
    if !fits {
        let given: Vec<String> = kinds.iter().map(with_article).collect();
        return Err(mismatch(format!("`{name}` cannot be used with {}", given.join(" and "))));
    }
    Ok(result.clone())
}
