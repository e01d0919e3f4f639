//! Infers the type of an expression, offline.
//!
//! The checker may accept what fails for its data at run time, such as an index out of range. It never accepts a secret or
//! an artifact anywhere except whole, in `+` and in `? :`.

use crate::diagnostic::{Code, codes};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, SelectExpr, operators as op};

use super::evaluate::is_pattern;
use super::not_null::{item_path, not_null};
use super::operators::{function, operator};
use super::template::{Expression, Part, Template};
use super::types::Record;
use super::{ExpressionError, Type, did_you_mean};

/// Functions that replace the default condition of a stage, which is "every need succeeded".
const STATUS_FUNCTIONS: [&str; 4] = ["success", "failure", "always", "cancelled"];

/// The names that an expression may use, with their types.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    names: BTreeMap<String, Type>,
    /// Names that exist elsewhere, with the reason why they are not available here.
    absent: BTreeMap<String, String>,
    /// Stages that exist and could be added to `needs`.
    stages: Arc<BTreeSet<String>>,
    /// Stages that exist and cannot be needed here, and what to do instead. `{}` stands for the name.
    unreachable: Option<(Arc<BTreeSet<String>>, &'static str)>,
    status_functions: bool,
}

impl Scope {
    /// Adds a name.
    #[must_use]
    pub fn with(mut self, name: &str, kind: Type) -> Self {
        self.absent.remove(name);
        self.names.insert(name.to_owned(), kind);
        self
    }

    /// Gives the reason why a name that people may expect is not available.
    #[must_use]
    pub fn without(mut self, name: &str, reason: &str) -> Self {
        self.names.remove(name);
        self.absent.insert(name.to_owned(), reason.to_owned());
        self
    }

    /// Names the stages that exist. A reference to one that `needs` does not list gets help to add it.
    #[must_use]
    pub fn with_stages(mut self, stages: Arc<BTreeSet<String>>) -> Self {
        self.stages = stages;
        self
    }

    /// Names the stages that exist and cannot be needed here, and what to do instead. `{}` stands for the name.
    #[must_use]
    pub fn with_unreachable_stages(mut self, stages: Arc<BTreeSet<String>>, instead: &'static str) -> Self {
        self.unreachable = Some((stages, instead));
        self
    }

    /// Allows `success()`, `failure()`, `always()` and `cancelled()`.
    #[must_use]
    pub fn with_status_functions(mut self) -> Self {
        self.status_functions = true;
        self
    }
}

/// Whether an expression calls a status function. If so, the default condition "every need succeeded" does not apply.
pub fn uses_status_function(expression: &Expression) -> bool {
    STATUS_FUNCTIONS.iter().any(|name| expression.ast.references().has_function(name))
}

/// The type of a bare expression.
pub fn check(expression: &Expression, scope: &Scope) -> Result<Type, ExpressionError> {
    Checker { expression, scope, locals: Vec::new(), not_null: Vec::new() }.infer(&expression.ast)
}

/// The type of a text with expressions: the type of the expression if the text is one whole expression, else a string.
pub fn check_template(template: &Template, scope: &Scope) -> Result<Type, ExpressionError> {
    if let [Part::Expression(expression)] = template.parts() {
        return check(expression, scope);
    }
    let mut whole = Type::String;
    for expression in template.expressions() {
        let kind = check(expression, scope)?;
        if !kind.is_scalar() {
            let message = format!("inside a longer text an expression must be a scalar, not {}", with_article(&kind));
            let error = ExpressionError::new(codes::TL0303, expression.place(), message);
            return Err(match kind {
                Type::Nullable(inner) if inner.is_scalar() => {
                    let what =
                        if let (name, true) = expression.named() { format!("`{name}`") } else { "this one".to_owned() };
                    let message =
                        format!("inside a longer text an expression must be a scalar, and {what} may be null");
                    ExpressionError { message, ..error }.help(expression.unless_null("''"))
                }
                Type::Artifact => error.help("an artifact is passed on whole: write nothing before or after it"),
                _ => error,
            });
        }
        if kind == Type::Secret {
            whole = Type::Secret;
        }
    }
    Ok(whole)
}

/// The name of a type with its article, for messages.
pub fn with_article(kind: &Type) -> String {
    let name = kind.to_string();
    match kind {
        Type::Null | Type::Any => name,
        // A record of the scope is named by its path in expressions, a record of a schema by its type.
        Type::Record(_) if !RECORDS.contains(&name.split('.').next().unwrap_or_default()) => indefinite(&name),
        Type::Record(_) => format!("`{name}`"),
        _ => indefinite(&name),
    }
}

pub(super) const RECORDS: [&str; 10] =
    ["inputs", "secrets", "run", "host", "git", "ci", "needs", "stages", "env", "matrix"];

fn indefinite(name: &str) -> String {
    if name.starts_with(['a', 'i', 'o']) { format!("an {name}") } else { format!("a {name}") }
}

struct Checker<'a> {
    expression: &'a Expression,
    scope: &'a Scope,
    locals: Vec<(String, Type)>,
    /// The paths that are known not to be null at this point.
    not_null: Vec<Vec<String>>,
}

impl Checker<'_> {
    fn error(&self, id: u64, code: Code, message: impl Into<String>) -> ExpressionError {
        ExpressionError::new(code, self.expression.span(id), message)
    }

    fn infer(&mut self, node: &IdedExpr) -> Result<Type, ExpressionError> {
        match &node.expr {
            Expr::Literal(LiteralValue::Bytes(_)) => {
                Err(self.error(node.id, codes::TL0303, "there are no bytes here").help("write a text, without `b`"))
            }
            // The first operator would combine it with an int, and CEL does not mix the two.
            Expr::Literal(LiteralValue::UInt(_)) => {
                Err(self.error(node.id, codes::TL0303, "there are no unsigned numbers here").help("leave out the `u`"))
            }
            Expr::Literal(literal) => Ok(literal_type(literal)),
            Expr::Ident(name) => self.name(node.id, name),
            Expr::Select(select) => {
                let kind = self.select(node.id, select)?;
                Ok(self.narrowed(node, kind))
            }
            Expr::Call(call) => {
                let kind = self.call(node.id, call)?;
                Ok(self.narrowed(node, kind))
            }
            Expr::Comprehension(comprehension) => self.comprehension(node.id, comprehension),
            Expr::List(list) => {
                let items = list.elements.iter().map(|item| self.infer(item)).collect::<Result<Vec<_>, _>>()?;
                self.no_secret(list.elements.iter().zip(&items), "a list")?;
                Ok(Type::List(Box::new(items.into_iter().reduce(Type::join).unwrap_or(Type::Any))))
            }
            Expr::Map(map) => {
                let (mut nodes, mut values) = (Vec::new(), Vec::new());
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.infer(&entry.key)?;
                        values.push(self.infer(&entry.value)?);
                        nodes.push(&entry.value);
                    }
                }
                self.no_secret(nodes.into_iter().zip(&values), "a map")?;
                Ok(Type::Map(Box::new(values.into_iter().reduce(Type::join).unwrap_or(Type::Any))))
            }
            Expr::Struct(_) | Expr::Unspecified => {
                Err(self.error(node.id, codes::TL0301, "messages with fields do not exist here"))
            }
        }
    }

    /// The type without `null`, if the node is known not to be null here.
    fn narrowed(&self, node: &IdedExpr, kind: Type) -> Type {
        match kind {
            Type::Nullable(kind) if item_path(node).is_some_and(|path| self.not_null.contains(&path)) => *kind,
            kind => kind,
        }
    }

    fn no_secret<'t>(
        &self,
        mut items: impl Iterator<Item = (&'t IdedExpr, &'t Type)>,
        place: &str,
    ) -> Result<(), ExpressionError> {
        match items.find(|(_, kind)| matches!(kind, Type::Secret | Type::Artifact)) {
            Some((node, kind)) => {
                let message = format!("{} cannot be put into {place}", with_article(kind));
                Err(ExpressionError::new(codes::TL0304, self.expression.extent(node), message))
            }
            None => Ok(()),
        }
    }

    fn name(&self, id: u64, name: &str) -> Result<Type, ExpressionError> {
        if let Some((_, kind)) = self.locals.iter().rev().find(|(local, _)| local == name) {
            return Ok(kind.clone());
        }
        if let Some(kind) = self.scope.names.get(name) {
            return Ok(kind.clone());
        }
        if let Some(reason) = self.scope.absent.get(name) {
            return Err(self.error(id, codes::TL0302, format!("`{name}` is not known here: {reason}")));
        }
        let known: Vec<&str> = self.scope.names.keys().map(String::as_str).collect();
        let help = did_you_mean(name, known.iter().copied())
            .map_or_else(|| format!("known here: {}", list(&known)), |near| format!("did you mean `{near}`?"));
        Err(self.error(id, codes::TL0302, format!("unknown name `{name}`")).help(help))
    }

    fn select(&mut self, id: u64, select: &SelectExpr) -> Result<Type, ExpressionError> {
        let operand = self.infer(&select.operand)?;
        // `has(a.b)` on a record: the field is either always there or an error.
        let kind = self.field(id, &operand, &select.field, &select.operand)?;
        Ok(if select.test { Type::Bool } else { kind })
    }

    fn field(&self, id: u64, operand: &Type, field: &str, of: &IdedExpr) -> Result<Type, ExpressionError> {
        match operand {
            Type::Any => Ok(Type::Any),
            Type::Map(value) => Ok((**value).clone()),
            Type::Record(record) => record.fields.get(field).cloned().ok_or_else(|| {
                let known: Vec<&str> = record.fields.keys().map(String::as_str).collect();
                let at = self.expression.field_span(id, field);
                self.unknown_field(at, of, &record.name, field, &known)
            }),
            other => {
                let message = format!("{} has no fields, so no `{field}`", with_article(other));
                Err(ExpressionError::new(codes::TL0303, self.expression.field_span(id, field), message))
            }
        }
    }

    fn unknown_field(
        &self,
        at: (usize, usize),
        of: &IdedExpr,
        record: &str,
        field: &str,
        known: &[&str],
    ) -> ExpressionError {
        // `needs.X` for a stage that this one does not list in its `needs`.
        if matches!(&of.expr, Expr::Ident(root) if root == "needs") {
            let error = ExpressionError::new(
                codes::TL0306,
                at,
                format!("`needs.{field}` is outside the `needs` of this stage"),
            );
            if self.scope.stages.contains(field) {
                return error.help(format!("add `{field}` to its `needs`"));
            }
            if let Some((_, instead)) = self.scope.unreachable.as_ref().filter(|(stages, _)| stages.contains(field)) {
                return error.help(instead.replace("{}", field));
            }
        }
        let error = ExpressionError::new(codes::TL0302, at, format!("`{record}` has no `{field}`"));
        match did_you_mean(field, known.iter().copied()) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None if known.is_empty() && matches!(record, "inputs" | "secrets") => {
                error.help(format!("declare it under `{record}`"))
            }
            None if known.is_empty() => error.help(format!("`{record}` is empty here")),
            None => error.help(format!("it has {}", list(known))),
        }
    }

    fn call(&mut self, id: u64, call: &CallExpr) -> Result<Type, ExpressionError> {
        let name = call.func_name.as_str();
        let place = self.expression.call_span(id, name);
        if STATUS_FUNCTIONS.contains(&name) && call.target.is_none() {
            let problem = match (self.scope.status_functions, call.args.is_empty()) {
                (true, true) => return Ok(Type::Bool),
                (true, false) => format!("`{name}()` takes nothing between its parentheses"),
                (false, _) => format!("`{name}()` can stand only in an `if`"),
            };
            return Err(ExpressionError::new(codes::TL0308, place, problem));
        }
        if let ("matches", [IdedExpr { id, expr: Expr::Literal(LiteralValue::String(pattern)) }]) =
            (name, call.args.as_slice())
            && !is_pattern(pattern.inner())
        {
            return Err(self.error(*id, codes::TL0303, "this is not a regular expression"));
        }
        let mut kinds = Vec::new();
        for argument in call.target.as_deref().into_iter().chain(&call.args) {
            let known = self.not_null.len();
            if let Some(condition) = call.args.first() {
                self.not_null.extend(match (name, kinds.len()) {
                    (op::CONDITIONAL | op::LOGICAL_AND, 1) => not_null(condition, true),
                    (op::CONDITIONAL, 2) | (op::LOGICAL_OR, 1) => not_null(condition, false),
                    _ => Vec::new(),
                });
            }
            let kind = self.infer(argument);
            self.not_null.truncate(known);
            kinds.push(kind?);
            if let (op::INDEX, [Type::Record(record)], [of, index]) = (name, kinds.as_slice(), call.args.as_slice()) {
                return self.literal_field(record, of, index);
            }
        }
        if let (op::CONDITIONAL, [condition, ..], [node, ..]) = (name, kinds.as_slice(), call.args.as_slice())
            && !matches!(condition, Type::Bool | Type::Any)
        {
            let message = format!("what stands before `?` must be true or false; this is {}", with_article(condition));
            return Err(ExpressionError::new(codes::TL0303, self.expression.extent(node), message));
        }
        let help = |error: ExpressionError, help: String| if help.is_empty() { error } else { error.help(help) };
        if let Some(result) = operator(name, &kinds) {
            return result.map_err(|problem| help(self.error(id, problem.code, problem.message), problem.help));
        }
        function(name, call.target.is_some(), &kinds)
            .map_err(|problem| help(ExpressionError::new(problem.code, place, problem.message), problem.help))
    }

    /// `record['field']`.
    fn literal_field(&self, record: &Record, of: &IdedExpr, index: &IdedExpr) -> Result<Type, ExpressionError> {
        let Expr::Literal(LiteralValue::String(field)) = &index.expr else {
            let message = format!("a field of `{}` is named, not computed", record.name);
            return Err(ExpressionError::new(codes::TL0303, self.expression.extent(index), message));
        };
        record.fields.get(field.inner()).cloned().ok_or_else(|| {
            let known: Vec<&str> = record.fields.keys().map(String::as_str).collect();
            self.unknown_field(self.expression.span(index.id), of, &record.name, field.inner(), &known)
        })
    }

    /// The type of what `all`, `exists`, `exists_one`, `map` and `filter` expand to.
    fn comprehension(&mut self, id: u64, it: &ComprehensionExpr) -> Result<Type, ExpressionError> {
        let item = match self.infer(&it.iter_range)? {
            Type::List(item) => *item,
            Type::Map(_) => Type::String,
            Type::Any => Type::Any,
            other => {
                let message = format!("only a list or a map can be walked through, not {}", with_article(&other));
                return Err(ExpressionError::new(codes::TL0303, self.expression.extent(&it.iter_range), message));
            }
        };
        let accumulator = self.infer(&it.accu_init)?;
        let depth = self.locals.len();
        self.locals.push((it.iter_var.clone(), item));
        if it.iter_var2.is_some() {
            return Err(self.error(id, codes::TL0308, "macros with two variables do not exist here"));
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
                ("parts".to_owned(), Type::List(Box::new(Type::Nullable(Box::new(Type::String))))),
                ("version_id".to_owned(), Type::Nullable(Box::new(Type::String))),
            ],
        );
        let seal = Type::record("needs.seal", [("outputs".to_owned(), outputs), ("result".to_owned(), Type::String)]);
        Scope::default()
            .with("inputs", Type::record("inputs", strings(&["environment"])))
            .with("secrets", Type::record("secrets", [("key".to_owned(), Type::Secret)]))
            .with("needs", Type::record("needs", [("seal".to_owned(), seal)]))
            .with_stages(Arc::new(BTreeSet::from(["collect".to_owned()])))
            .with_status_functions()
    }

    fn infer(text: &str) -> Result<String, ExpressionError> {
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
            ("${{ needs.seal.outputs.names.map(n, n + '!') }}", "list of strings"),
            ("${{ needs.seal.outputs.names.filter(n, n.startsWith('a')) }}", "list of strings"),
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
            ("${{ inpts.environment }}", codes::TL0302, "inpts"),
            ("${{ inputs.enviroment }}", codes::TL0302, "enviroment"),
            ("${{ needs.collect.outputs }}", codes::TL0306, "collect"),
            ("${{ needs['collect'].outputs }}", codes::TL0306, "'collect'"),
            ("${{ needs.seal.outputs.file }}", codes::TL0302, "file"),
            ("${{ inputs.environment + 1 }}", codes::TL0303, "+"),
            ("${{ 1 + 1.5 }}", codes::TL0303, "+"),
            ("${{ secrets.key == 'a' }}", codes::TL0304, "=="),
            ("${{ [secrets.key] }}", codes::TL0304, "secrets.key"),
            ("${{ secrets.key.startsWith('a') }}", codes::TL0304, "startsWith"),
            ("a ${{ needs.seal.outputs.names }}", codes::TL0303, "needs.seal.outputs.names"),
            ("a ${{ needs.seal.outputs.artifact }}", codes::TL0303, "needs.seal.outputs.artifact"),
            ("${{ lower(inputs.environment) }}", codes::TL0308, "lower"),
            ("${{ inputs.environment.startWith('a') }}", codes::TL0308, "startWith"),
            ("${{ inputs.environment.matches('(') }}", codes::TL0303, "'('"),
            ("${{ 'a' ? 1 : 2 }}", codes::TL0303, "'a'"),
            ("${{ inputs.environment[0] }}", codes::TL0303, "["),
            ("${{ always(1) }}", codes::TL0308, "always"),
            ("${{ inputs.environment.map(x, x) }}", codes::TL0303, "inputs.environment"),
            ("${{ inputs.environment.x }}", codes::TL0303, "x"),
            ("${{ needs[inputs.environment].result }}", codes::TL0303, "inputs.environment"),
        ] {
            let error = infer(text).expect_err(text);
            let at: String = text.chars().skip(error.offset).take(error.length).collect();
            assert_eq!((error.code, at.as_str()), (code, marked), "{text}: {error:?}");
        }
    }

    #[test]
    fn what_was_asked_for_null_is_not_null_where_that_is_certain() {
        let id = "needs.seal.outputs.version_id";
        for (text, kind) in [
            (format!("{id} == null ? 'none' : {id}"), "string"),
            (format!("null == {id} ? 'none' : {id}"), "string"),
            (format!("{id} != null ? {id} + '!' : 'none'"), "string"),
            (format!("!({id} == null) ? {id} : 'none'"), "string"),
            (format!("{id} != null && {id}.startsWith('a')"), "bool"),
            (format!("{id} == null || {id}.startsWith('a')"), "bool"),
            (format!("{id} == null || size({id}) > 1 || {id}.endsWith('a')"), "bool"),
            (format!("{id} != null && size(needs.seal.outputs.names) > 0 ? {id} : 'none'"), "string"),
            (format!("needs.seal.outputs.names.exists(n, {id} != null && {id} == n)"), "bool"),
            (format!("{id} != null ? needs.seal.outputs.names.map(n, n + {id}) : []"), "list of strings"),
            // Nothing is known of one that a text is compared with.
            (format!("{id} == 'a' ? 'b' : string({id} == null)"), "string"),
            ("needs.seal.outputs.parts[0] == null ? 'a' : needs.seal.outputs.parts[0]".to_owned(), "string"),
            (format!("{id} != null ? (inputs.environment == 'x' ? {id} : 'y') : 'none'"), "string"),
        ] {
            assert_eq!(infer(&format!("${{{{ {text} }}}}")).as_deref(), Ok(kind), "{text}");
        }
        for text in [
            "needs.seal.outputs.parts[0] == null ? 'a' : needs.seal.outputs.parts[1]".to_owned(),
            format!("{id} + '!'"),
            format!("{id}.startsWith('a') && {id} != null"),
            format!("{id} != null || {id}.startsWith('a')"),
            format!("{id} == null && {id}.startsWith('a')"),
            format!("({id} != null && true) == {id}.startsWith('a')"),
            format!("inputs.environment == 'x' ? {id} : 'none'"),
            format!("{id} == null ? {id} : 'none'"),
            format!("{id} == 'a' ? {id} : 'none'"),
            format!("{id} != null || inputs.environment == 'x' ? {id} : 'none'"),
            format!("{id} == null && inputs.environment == 'x' ? 'none' : {id}"),
            format!("({id} != null ? 'a' : 'b') == 'a' ? {id} : 'none'"),
        ] {
            assert_eq!(infer(&format!("${{{{ {text} }}}}")).unwrap_err().code, codes::TL0303, "{text}");
        }
    }

    #[test]
    fn a_long_chain_is_read_once() {
        // Each index would double the work if its operand were looked at twice.
        let text = format!("${{{{ needs.seal.outputs.names{} }}}}", "[0]".repeat(30));
        assert_eq!(infer(&text).unwrap_err().code, codes::TL0303);
    }
}
