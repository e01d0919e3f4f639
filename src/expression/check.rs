use std::collections::BTreeMap;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, SelectExpr, operators as op};

use super::evaluate::is_pattern;
use super::operators::{function, operator};
use super::template::{Expression, Part, Template};
use super::{Mistake, Type, did_you_mean};

/// Functions that replace the default condition of a stage.
const STATUS_FUNCTIONS: [&str; 4] = ["success", "failure", "always", "cancelled"];

/// The names an expression may use, by type.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    names: BTreeMap<String, Type>,
    /// Names that exist elsewhere, with the reason why not here.
    absent: BTreeMap<String, String>,
    status_functions: bool,
}

impl Scope {
    /// Adds a name.
    #[must_use]
    pub fn with(mut self, name: &str, kind: Type) -> Self {
        self.names.insert(name.to_owned(), kind);
        self
    }

    /// Says why a name that people may expect is not there.
    #[must_use]
    pub fn without(mut self, name: &str, reason: &str) -> Self {
        self.absent.insert(name.to_owned(), reason.to_owned());
        self
    }

    /// Allows `success()` and its like.
    #[must_use]
    pub fn with_status_functions(mut self) -> Self {
        self.status_functions = true;
        self
    }
}

/// Whether an expression says itself when it is true: then the default "every need succeeded" does not apply.
pub fn uses_status_function(expression: &Expression) -> bool {
    STATUS_FUNCTIONS.iter().any(|name| expression.ast.references().has_function(name))
}

/// The type of a bare expression.
pub fn check(expression: &Expression, scope: &Scope) -> Result<Type, Mistake> {
    Checker { expression, scope, locals: Vec::new() }.infer(&expression.ast)
}

/// The type of a text with expressions in it: that of the expression if it is one whole, else a text.
pub fn check_template(template: &Template, scope: &Scope) -> Result<Type, Mistake> {
    if let [Part::Expression(expression)] = template.parts() {
        return check(expression, scope);
    }
    let mut whole = Type::String;
    for expression in template.expressions() {
        let kind = check(expression, scope)?;
        if !kind.is_scalar() {
            let message = format!("inside a longer text an expression must be a scalar, not {}", article(&kind));
            return Err(Mistake::new("TL0303", expression.whole(), message));
        }
        if kind == Type::Secret {
            whole = Type::Secret;
        }
    }
    Ok(whole)
}

/// The type with its article, for messages.
pub(super) fn article(kind: &Type) -> String {
    let name = kind.to_string();
    match name.as_str() {
        "null" | "anything" => name,
        _ if name.starts_with(['a', 'i', 'o']) => format!("an {name}"),
        _ => format!("a {name}"),
    }
}

struct Checker<'a> {
    expression: &'a Expression,
    scope: &'a Scope,
    locals: Vec<(String, Type)>,
}

impl Checker<'_> {
    fn mistake(&self, id: u64, code: &'static str, message: impl Into<String>) -> Mistake {
        Mistake::new(code, self.expression.span(id), message)
    }

    fn infer(&mut self, node: &IdedExpr) -> Result<Type, Mistake> {
        match &node.expr {
            Expr::Literal(literal) => Ok(literal_type(literal)),
            Expr::Ident(name) => self.name(node.id, name),
            Expr::Select(select) => self.select(node.id, select),
            Expr::Call(call) => self.call(node.id, call),
            Expr::Comprehension(comprehension) => self.comprehension(node.id, comprehension),
            Expr::List(list) => {
                let items = list.elements.iter().map(|item| self.infer(item)).collect::<Result<Vec<_>, _>>()?;
                self.no_secret(node.id, &items, "a list")?;
                Ok(Type::List(Box::new(items.into_iter().reduce(Type::join).unwrap_or(Type::Any))))
            }
            Expr::Map(map) => {
                let mut values = Vec::new();
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.infer(&entry.key)?;
                        values.push(self.infer(&entry.value)?);
                    }
                }
                self.no_secret(node.id, &values, "a map")?;
                Ok(Type::Map(Box::new(values.into_iter().reduce(Type::join).unwrap_or(Type::Any))))
            }
            Expr::Struct(_) | Expr::Unspecified => {
                Err(self.mistake(node.id, "TL0301", "messages with fields do not exist here"))
            }
        }
    }

    fn no_secret(&self, id: u64, kinds: &[Type], place: &str) -> Result<(), Mistake> {
        match kinds.iter().find(|kind| matches!(kind, Type::Secret | Type::Artifact)) {
            Some(kind) => Err(self.mistake(id, "TL0304", format!("{} cannot be put into {place}", article(kind)))),
            None => Ok(()),
        }
    }

    fn name(&self, id: u64, name: &str) -> Result<Type, Mistake> {
        if let Some((_, kind)) = self.locals.iter().rev().find(|(local, _)| local == name) {
            return Ok(kind.clone());
        }
        if let Some(kind) = self.scope.names.get(name) {
            return Ok(kind.clone());
        }
        if let Some(reason) = self.scope.absent.get(name) {
            return Err(self.mistake(id, "TL0302", format!("`{name}` is not known here: {reason}")));
        }
        let known: Vec<&str> = self.scope.names.keys().map(String::as_str).collect();
        let help = did_you_mean(name, known.iter().copied())
            .map_or_else(|| format!("known here: {}", list(&known)), |near| format!("did you mean `{near}`?"));
        Err(self.mistake(id, "TL0302", format!("unknown name `{name}`")).help(help))
    }

    fn select(&mut self, id: u64, select: &SelectExpr) -> Result<Type, Mistake> {
        let operand = self.infer(&select.operand)?;
        // `has(a.b)` on a record asks for a field that is always or never there.
        let kind = self.field(id, &operand, &select.field, &select.operand)?;
        Ok(if select.test { Type::Bool } else { kind })
    }

    fn field(&self, id: u64, operand: &Type, field: &str, of: &IdedExpr) -> Result<Type, Mistake> {
        match operand {
            Type::Any => Ok(Type::Any),
            Type::Map(value) => Ok((**value).clone()),
            Type::Record(record) => record.fields.get(field).cloned().ok_or_else(|| {
                let known: Vec<&str> = record.fields.keys().map(String::as_str).collect();
                let at = self.field_span(id, field);
                self.unknown_field(at, of, &record.name, field, &known)
            }),
            other => Err(self.mistake(id, "TL0303", format!("{} has no field `{field}`", article(other)))),
        }
    }

    fn unknown_field(&self, at: (usize, usize), of: &IdedExpr, record: &str, field: &str, known: &[&str]) -> Mistake {
        // `needs.X` for a stage that exists, but that this one does not name in its `needs`.
        if let (Expr::Ident(root), Some(reason)) = (&of.expr, self.scope.absent.get(&format!("{record}.{field}"))) {
            return Mistake::new("TL0306", at, format!("`{root}.{field}` is outside `needs`")).help(reason.clone());
        }
        let mistake = Mistake::new("TL0302", at, format!("`{record}` has no `{field}`"));
        match did_you_mean(field, known.iter().copied()) {
            Some(near) => mistake.help(format!("did you mean `{near}`?")),
            None if known.is_empty() => mistake.help(format!("`{record}` is empty here")),
            None => mistake.help(format!("it has {}", list(known))),
        }
    }

    /// `cel` marks a selection at its dot; people look at the name behind it.
    fn field_span(&self, id: u64, field: &str) -> (usize, usize) {
        let (offset, _) = self.expression.span(id);
        (offset + 1, field.chars().count())
    }

    fn call(&mut self, id: u64, call: &CallExpr) -> Result<Type, Mistake> {
        if call.func_name == op::INDEX
            && let [of, index] = call.args.as_slice()
            && let Type::Record(record) = self.infer(of)?
        {
            return match &index.expr {
                Expr::Literal(LiteralValue::String(field)) => {
                    let known: Vec<&str> = record.fields.keys().map(String::as_str).collect();
                    record.fields.get(field.inner()).cloned().ok_or_else(|| {
                        let at = self.expression.span(index.id);
                        self.unknown_field(at, of, &record.name, field.inner(), &known)
                    })
                }
                _ => Err(self.mistake(index.id, "TL0303", format!("`{}` is read by literal names", record.name))),
            };
        }
        if STATUS_FUNCTIONS.contains(&call.func_name.as_str()) && call.target.is_none() {
            return match (self.scope.status_functions, call.args.is_empty()) {
                (true, true) => Ok(Type::Bool),
                (true, false) => Err(self.mistake(id, "TL0308", format!("`{}()` takes nothing", call.func_name))),
                (false, _) => {
                    Err(self.mistake(id, "TL0308", format!("`{}()` can stand only in an `if`", call.func_name)))
                }
            };
        }
        if let ("matches", [IdedExpr { id, expr: Expr::Literal(LiteralValue::String(pattern)) }]) =
            (call.func_name.as_str(), call.args.as_slice())
            && !is_pattern(pattern.inner())
        {
            return Err(self.mistake(*id, "TL0303", "this is not a regular expression"));
        }
        let mut kinds = Vec::new();
        for argument in call.target.as_deref().into_iter().chain(&call.args) {
            kinds.push(self.infer(argument)?);
        }
        if let Some(result) = operator(&call.func_name, &kinds) {
            return result.map_err(|problem| self.mistake(id, problem.code, problem.message));
        }
        function(&call.func_name, call.target.is_some(), &kinds)
            .map_err(|problem| self.mistake(id, problem.code, problem.message).help(problem.help))
    }

    /// What `all`, `exists`, `exists_one`, `map` and `filter` expand to.
    fn comprehension(&mut self, id: u64, it: &ComprehensionExpr) -> Result<Type, Mistake> {
        let item = match self.infer(&it.iter_range)? {
            Type::List(item) => *item,
            Type::Map(_) => Type::String,
            Type::Any => Type::Any,
            other => {
                let message = format!("only a list or a map can be walked through, not {}", article(&other));
                return Err(self.mistake(it.iter_range.id, "TL0303", message));
            }
        };
        let accumulator = self.infer(&it.accu_init)?;
        let depth = self.locals.len();
        self.locals.push((it.iter_var.clone(), item));
        if it.iter_var2.is_some() {
            return Err(self.mistake(id, "TL0308", "macros with two variables do not exist here"));
        }
        self.locals.push((it.accu_var.clone(), accumulator.clone()));
        self.infer(&it.loop_cond)?;
        let step = self.infer(&it.loop_step)?;
        let result = match accumulator {
            Type::List(_) => step,
            other => other.join(step),
        };
        self.locals.truncate(depth);
        self.locals.push((it.accu_var.clone(), result));
        let result = self.infer(&it.result);
        self.locals.truncate(depth);
        result
    }
}

fn literal_type(literal: &LiteralValue) -> Type {
    match literal {
        LiteralValue::Boolean(_) => Type::Bool,
        LiteralValue::Int(_) | LiteralValue::UInt(_) => Type::Int,
        LiteralValue::Double(_) => Type::Double,
        LiteralValue::String(_) => Type::String,
        LiteralValue::Null => Type::Null,
        LiteralValue::Bytes(_) => Type::Any,
    }
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        let strings = |names: &[&str]| names.iter().map(|n| ((*n).to_owned(), Type::String)).collect::<Vec<_>>();
        let outputs = Type::record(
            "outputs",
            [
                ("files".to_owned(), Type::Int),
                ("artifact".to_owned(), Type::Artifact),
                ("names".to_owned(), Type::List(Box::new(Type::String))),
                ("version_id".to_owned(), Type::Nullable(Box::new(Type::String))),
            ],
        );
        let seal = Type::record("needs.seal", [("outputs".to_owned(), outputs), ("result".to_owned(), Type::String)]);
        Scope::default()
            .with("inputs", Type::record("inputs", strings(&["environment"])))
            .with("secrets", Type::record("secrets", [("key".to_owned(), Type::Secret)]))
            .with("needs", Type::record("needs", [("seal".to_owned(), seal)]))
            .without("needs.collect", "add `collect` to `needs`")
            .with_status_functions()
    }

    fn infer(text: &str) -> Result<String, Mistake> {
        let template = Template::parse(text)?;
        check_template(&template, &scope()).map(|kind| kind.to_string())
    }

    #[test]
    fn types_are_inferred() {
        for (text, kind) in [
            ("plain", "string"),
            ("${{ needs.seal.outputs.files }}", "int"),
            ("${{ needs.seal.outputs.files + 1 > 2 && true }}", "bool"),
            ("n ${{ needs.seal.outputs.files }}", "string"),
            ("${{ needs.seal.outputs.artifact }}", "artifact"),
            ("Bearer ${{ secrets.key }}", "secret"),
            ("${{ 'Bearer ' + secrets.key }}", "secret"),
            ("${{ needs['seal'].outputs.names[0] }}", "string"),
            ("${{ needs.seal.outputs.names.map(n, n + '!') }}", "list of string"),
            ("${{ needs.seal.outputs.names.filter(n, n.startsWith('a')) }}", "list of string"),
            ("${{ needs.seal.outputs.names.exists(n, n == 'a') }}", "bool"),
            ("${{ needs.seal.outputs.names.exists_one(n, n == 'a') }}", "bool"),
            ("${{ needs.seal.outputs.version_id }}", "string or null"),
            ("${{ needs.seal.outputs.version_id == null }}", "bool"),
            ("${{ inputs.environment == 'x' ? 1 : 2 }}", "int"),
            ("${{ size(inputs.environment) }}", "int"),
            ("${{ string(1) + 'a' }}", "string"),
            ("${{ success() || failure() }}", "bool"),
            ("${{ inputs.environment in ['a', 'b'] }}", "bool"),
        ] {
            assert_eq!(infer(text).as_deref(), Ok(kind), "{text}");
        }
    }

    #[test]
    fn mistakes_have_code_and_place() {
        for (text, code, marked) in [
            ("${{ inpts.environment }}", "TL0302", "inpts"),
            ("${{ inputs.enviroment }}", "TL0302", "enviroment"),
            ("${{ needs.collect.outputs }}", "TL0306", "collect"),
            ("${{ needs['collect'].outputs }}", "TL0306", "'collect'"),
            ("${{ needs.seal.outputs.file }}", "TL0302", "file"),
            ("${{ inputs.environment + 1 }}", "TL0303", "+"),
            ("${{ 1 + 1.5 }}", "TL0303", "+"),
            ("${{ secrets.key == 'a' }}", "TL0304", "=="),
            ("${{ [secrets.key] }}", "TL0304", "["),
            ("${{ secrets.key.startsWith('a') }}", "TL0304", "("),
            ("a ${{ needs.seal.outputs.names }}", "TL0303", "needs.seal.outputs.names"),
            ("a ${{ needs.seal.outputs.artifact }}", "TL0303", "needs.seal.outputs.artifact"),
            ("${{ lower(inputs.environment) }}", "TL0308", "("),
            ("${{ inputs.environment.startWith('a') }}", "TL0308", "("),
            ("${{ inputs.environment.matches('(') }}", "TL0303", "'('"),
            ("${{ 'a' ? 1 : 2 }}", "TL0303", "?"),
            ("${{ inputs.environment[0] }}", "TL0303", "["),
            ("${{ always(1) }}", "TL0308", "("),
        ] {
            let mistake = infer(text).expect_err(text);
            let at: String = text.chars().skip(mistake.offset).take(mistake.length).collect();
            assert_eq!((mistake.code, at.as_str()), (code, marked), "{text}: {mistake:?}");
        }
    }
}
