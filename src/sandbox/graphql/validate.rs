//! Whether a document fits the schema, in the words of the real service's server, and the limits
//! that keep a hostile document small.

use std::collections::{HashMap, HashSet};

use async_graphql_parser::types::{
    BaseType, Directive, ExecutableDocument, Field, OperationDefinition, OperationType, Selection,
    SelectionSet, Type,
};
use async_graphql_parser::{Positioned, parse_query};
use async_graphql_value::Name;
use serde_json::{Map, Value};

use super::schema::{SCHEMA, named};
use super::values::{Findings, Usage, coerced, constant, is_required, judge};

const MAX_BYTES: usize = 100_000;
/// Of brackets of any kind; the reader of the grammar is recursive.
const MAX_NESTING: usize = 60;
/// Of selections, with fragments put in.
const MAX_DEPTH: usize = 25;
/// Of all selections, with fragments put in: a fragment of fragments of fragments grows fast.
const MAX_FIELDS: usize = 4_000;
const MAX_ERRORS: usize = 20;

/// The names of fields that are answered as if the schema had lost them.
pub(super) type Gone<'a> = &'a [&'a str];

/// Reads a document that is neither too long nor too deep to be read.
pub(super) fn parsed(text: &str) -> Result<ExecutableDocument, String> {
    if text.len() > MAX_BYTES {
        return Err(format!("The document is longer than {MAX_BYTES} bytes."));
    }
    if nesting(text) > MAX_NESTING {
        return Err(format!("The document is nested deeper than {MAX_NESTING} levels."));
    }
    parse_query(text).map_err(|error| {
        let place = error.positions().next().map(|pos| format!(" ({}:{})", pos.line, pos.column));
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or_default().trim_start_matches([' ', '=']);
        format!("Syntax Error: {reason}{}", place.unwrap_or_default())
    })
}

/// How deep brackets lie in each other, outside of strings and comments.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = |skip: usize| rest.get(skip..).unwrap_or_default();
        rest = if rest.starts_with("\"\"\"") {
            let body = after(3);
            body.find("\"\"\"").and_then(|end| body.get(end + 3..)).unwrap_or_default()
        } else if c == '"' {
            let mut escaped = false;
            let end = after(1).find(|c| {
                let ends = !escaped && (c == '"' || c == '\n');
                escaped = c == '\\' && !escaped;
                ends
            });
            end.map_or("", |end| after(end + 2))
        } else if c == '#' {
            rest.find('\n').map_or("", after)
        } else {
            match c {
                '{' | '[' | '(' => depth += 1,
                '}' | ']' | ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            deepest = deepest.max(depth);
            after(c.len_utf8())
        };
    }
    deepest
}

/// The operation that a request means.
pub(super) fn operation<'a>(
    document: &'a ExecutableDocument,
    name: Option<&str>,
) -> Result<&'a OperationDefinition, String> {
    let mut operations = document.operations.iter();
    match (name, operations.len()) {
        (Some(name), _) => operations
            .find(|(own, _)| own.is_some_and(|own| own == name))
            .map(|(_, operation)| &operation.node)
            .ok_or_else(|| format!("Unknown operation named '{name}'.")),
        (None, 1) => operations
            .next()
            .map(|(_, operation)| &operation.node)
            .ok_or_else(|| "Must provide an operation.".to_owned()),
        (None, _) => {
            Err("Must provide operation name if query contains multiple operations.".to_owned())
        }
    }
}

/// The object that an operation starts from.
pub(super) const fn root(operation: &OperationDefinition) -> &'static str {
    match operation.ty {
        OperationType::Query => "Query",
        OperationType::Mutation => "Mutation",
        OperationType::Subscription => "Subscription",
    }
}

/// Everything that is wrong with a document; nothing for a good one.
pub(super) fn validate(document: &ExecutableDocument, gone: Gone<'_>) -> Vec<String> {
    let mut checker =
        Checker { document, gone, findings: Findings::default(), spreads: Vec::new() };
    if let Err(error) = checker.measure() {
        return vec![error];
    }
    let mut fragments = HashMap::new();
    for (name, fragment) in &document.fragments {
        let on = fragment.node.type_condition.node.on.node.as_str();
        if !SCHEMA.has(on) {
            checker.complain(format!("Unknown type '{on}'."));
        } else if !SCHEMA.is_composite(on) {
            let text = format!("Fragment '{name}' cannot condition on non composite type '{on}'.");
            checker.complain(text);
        } else {
            checker.selection(on, &fragment.node.selection_set.node);
        }
        fragments.insert(name.as_str(), checker.taken());
    }
    let mut used = HashSet::new();
    for (name, definition) in document.operations.iter() {
        let operation = &definition.node;
        if operation.ty == OperationType::Subscription {
            checker.complain("Schema is not configured to execute subscription operation.".into());
            continue;
        }
        checker.selection(root(operation), &operation.selection_set.node);
        let (mut usages, mut open) = checker.taken();
        let mut seen = HashSet::new();
        while let Some(spread) = open.pop() {
            if seen.insert(spread.clone())
                && let Some((more, deeper)) = fragments.get(spread.as_str())
            {
                usages.extend(more.iter().cloned());
                open.extend(deeper.iter().cloned());
            }
        }
        used.extend(seen);
        checker.variables(name, operation, &usages);
    }
    for name in document.fragments.keys().filter(|name| !used.contains(name.as_str())) {
        checker.complain(format!("Fragment '{name}' is never used."));
    }
    checker.findings.errors
}

struct Checker<'a> {
    document: &'a ExecutableDocument,
    gone: Gone<'a>,
    findings: Findings,
    /// The fragments that were spread since they were last taken.
    spreads: Vec<String>,
}

impl<'a> Checker<'a> {
    fn complain(&mut self, text: String) {
        if self.findings.errors.len() < MAX_ERRORS {
            self.findings.errors.push(text);
        }
    }

    fn taken(&mut self) -> (Vec<Usage>, Vec<String>) {
        (std::mem::take(&mut self.findings.usages), std::mem::take(&mut self.spreads))
    }

    /// Refuses circles of fragments, and what is too deep or too much once they are put in.
    fn measure(&self) -> Result<(), String> {
        let mut left = MAX_FIELDS;
        let operations = self.document.operations.iter().map(|(_, one)| &one.node.selection_set);
        let fragments = self.document.fragments.values().map(|one| &one.node.selection_set);
        for set in operations.chain(fragments) {
            self.measured(&set.node, &mut Vec::new(), 1, &mut left)?;
        }
        Ok(())
    }

    fn measured(
        &self,
        set: &'a SelectionSet,
        inside: &mut Vec<&'a str>,
        depth: usize,
        left: &mut usize,
    ) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("The query is deeper than {MAX_DEPTH} levels."));
        }
        for item in &set.items {
            *left = left
                .checked_sub(1)
                .ok_or_else(|| format!("The query has more than {MAX_FIELDS} fields."))?;
            match &item.node {
                Selection::Field(field) => {
                    self.measured(&field.node.selection_set.node, inside, depth + 1, left)?;
                }
                Selection::InlineFragment(part) => {
                    self.measured(&part.node.selection_set.node, inside, depth + 1, left)?;
                }
                Selection::FragmentSpread(spread) => {
                    let name = spread.node.fragment_name.node.as_str();
                    if inside.contains(&name) {
                        return Err(format!("Cannot spread fragment '{name}' within itself."));
                    }
                    if let Some(fragment) = self.document.fragments.get(name) {
                        inside.push(name);
                        let set = &fragment.node.selection_set.node;
                        self.measured(set, inside, depth + 1, left)?;
                        inside.pop();
                    }
                }
            }
        }
        Ok(())
    }

    fn selection(&mut self, on: &'a str, set: &'a SelectionSet) {
        for item in &set.items {
            for directive in item.node.directives() {
                self.directive(&directive.node);
            }
            match &item.node {
                Selection::Field(field) => self.field(on, &field.node),
                Selection::InlineFragment(part) => {
                    let condition = part.node.type_condition.as_ref();
                    let inner = condition.map_or(on, |condition| condition.node.on.node.as_str());
                    if !SCHEMA.has(inner) {
                        self.complain(format!("Unknown type '{inner}'."));
                    } else if !SCHEMA.is_composite(inner) {
                        self.complain(format!(
                            "Fragment cannot condition on non composite type '{inner}'."
                        ));
                    } else if !overlap(on, inner) {
                        self.complain(format!(
                            "Fragment cannot be spread here as objects of type '{on}' can never be \
                             of type '{inner}'."
                        ));
                    } else {
                        self.selection(inner, &part.node.selection_set.node);
                    }
                }
                Selection::FragmentSpread(spread) => {
                    let name = spread.node.fragment_name.node.to_string();
                    match self.document.fragments.get(name.as_str()) {
                        None => self.complain(format!("Unknown fragment '{name}'.")),
                        Some(fragment) => {
                            let inner = fragment.node.type_condition.node.on.node.as_str();
                            if SCHEMA.is_composite(inner) && !overlap(on, inner) {
                                self.complain(format!(
                                    "Fragment '{name}' cannot be spread here as objects of type \
                                     '{on}' can never be of type '{inner}'."
                                ));
                            }
                        }
                    }
                    self.spreads.push(name);
                }
            }
        }
        self.conflicts(on, set);
    }

    fn field(&mut self, on: &str, field: &'a Field) {
        let name = field.name.node.as_str();
        let inner = &field.selection_set.node;
        if name == "__typename" {
            if !inner.items.is_empty() {
                let text = "Field '__typename' must not have a selection since type 'String!' has \
                            no subfields.";
                self.complain(text.to_owned());
            }
            return;
        }
        let known = SCHEMA.field(on, name).filter(|_| !self.gone.contains(&name));
        let Some(definition) = known else {
            self.complain(format!("Cannot query field '{name}' on type '{on}'."));
            return;
        };
        for argument in &definition.arguments {
            let argument = &argument.node;
            let key = argument.name.node.as_str();
            let of = &argument.ty.node;
            match field.get_argument(key) {
                Some(literal) => {
                    let has_default = argument.default_value.is_some();
                    judge(of, &literal.node, has_default, &mut self.findings);
                }
                None if is_required(argument) => self.complain(format!(
                    "Field '{name}' argument '{key}' of type '{of}' is required, but it was not \
                     provided."
                )),
                None => {}
            }
        }
        for (key, _) in &field.arguments {
            if !definition.arguments.iter().any(|known| known.node.name.node == key.node) {
                self.complain(format!("Unknown argument '{}' on field '{on}.{name}'.", key.node));
            }
        }
        let of = &definition.ty.node;
        let composite = SCHEMA.is_composite(named(of));
        if composite && inner.items.is_empty() {
            self.complain(format!(
                "Field '{name}' of type '{of}' must have a selection of subfields. Did you mean \
                 '{name} {{ ... }}'?"
            ));
        } else if !composite && !inner.items.is_empty() {
            self.complain(format!(
                "Field '{name}' must not have a selection since type '{of}' has no subfields."
            ));
        } else if composite {
            self.selection(named(of), inner);
        }
    }

    fn directive(&mut self, directive: &Directive) {
        let name = directive.name.node.as_str();
        if !matches!(name, "skip" | "include") {
            self.complain(format!("Unknown directive '@{name}'."));
            return;
        }
        match (directive.get_argument("if"), Type::new("Boolean!")) {
            (Some(literal), Some(of)) => judge(&of, &literal.node, false, &mut self.findings),
            _ => self.complain(format!(
                "Directive '@{name}' argument 'if' of type 'Boolean!' is required, but it was not \
                 provided."
            )),
        }
    }

    /// Two fields that land under one key must be the same field, or at least of the same shape
    /// when no object can have both.
    fn conflicts(&mut self, on: &'a str, set: &'a SelectionSet) {
        let mut fields = Vec::new();
        self.flattened(on, set, &mut fields);
        let mut first: HashMap<&str, (&str, &Field)> = HashMap::new();
        for (on, field) in fields {
            let key = field.response_key().node.as_str();
            let Some((other_on, other)) = first.get(key).copied() else {
                first.insert(key, (on, field));
                continue;
            };
            let (name, other_name) = (&field.name.node, &other.name.node);
            if overlap(on, other_on) && name != other_name {
                self.complain(format!(
                    "Fields '{key}' conflict because '{other_name}' and '{name}' are different \
                     fields. Use different aliases on the fields to fetch both if this was \
                     intentional."
                ));
            } else if let Some((a, b)) =
                SCHEMA.field(other_on, other_name).zip(SCHEMA.field(on, name))
                && !same_shape(&a.ty.node, &b.ty.node)
            {
                self.complain(format!(
                    "Fields '{key}' conflict because they return conflicting types '{}' and '{}'. \
                     Use different aliases on the fields to fetch both if this was intentional.",
                    a.ty.node, b.ty.node
                ));
            }
        }
    }

    fn flattened(
        &self,
        on: &'a str,
        set: &'a SelectionSet,
        fields: &mut Vec<(&'a str, &'a Field)>,
    ) {
        for item in &set.items {
            match &item.node {
                Selection::Field(field) => fields.push((on, &field.node)),
                Selection::InlineFragment(part) => {
                    let condition = part.node.type_condition.as_ref();
                    let on = condition.map_or(on, |condition| condition.node.on.node.as_str());
                    self.flattened(on, &part.node.selection_set.node, fields);
                }
                Selection::FragmentSpread(spread) => {
                    let name = spread.node.fragment_name.node.as_str();
                    if let Some(fragment) = self.document.fragments.get(name) {
                        let on = fragment.node.type_condition.node.on.node.as_str();
                        self.flattened(on, &fragment.node.selection_set.node, fields);
                    }
                }
            }
        }
    }

    fn variables(
        &mut self,
        name: Option<&Name>,
        operation: &OperationDefinition,
        usages: &[Usage],
    ) {
        let of = name.map(|name| format!(" operation '{name}'"));
        let by = of.as_ref().map(|of| format!(" by{of}")).unwrap_or_default();
        let within = of.as_ref().map(|of| format!(" in{of}")).unwrap_or_default();
        let mut declared = HashSet::new();
        for variable in &operation.variable_definitions {
            let variable = &variable.node;
            let (key, of) = (variable.name.node.as_str(), &variable.var_type.node);
            if !declared.insert(key) {
                self.complain(format!("There can be only one variable named '${key}'."));
            }
            if !SCHEMA.has(named(of)) {
                self.complain(format!("Unknown type '{}'.", named(of)));
            } else if !SCHEMA.is_input(named(of)) {
                self.complain(format!("Variable '${key}' cannot be non-input type '{of}'."));
            } else if let Some(default) = &variable.default_value {
                judge(of, &default.node.clone().into_value(), false, &mut self.findings);
            }
            if !usages.iter().any(|usage| usage.name == key) {
                self.complain(format!("Variable '${key}' is never used{within}."));
            }
        }
        for usage in usages {
            let definition = operation
                .variable_definitions
                .iter()
                .map(|variable| &variable.node)
                .find(|variable| variable.name.node == *usage.name);
            let Some(definition) = definition else {
                self.complain(format!("Variable '${}' is not defined{by}.", usage.name));
                continue;
            };
            let of = &definition.var_type.node;
            let has_default = definition.default_value.is_some() || usage.has_default;
            if SCHEMA.is_input(named(of)) && !is_allowed(of, &usage.expected, has_default) {
                self.complain(format!(
                    "Variable '${}' of type '{of}' used in position expecting type '{}'.",
                    usage.name, usage.expected
                ));
            }
        }
    }
}

fn overlap(a: &str, b: &str) -> bool {
    let objects = SCHEMA.objects(b);
    SCHEMA.objects(a).iter().any(|object| objects.contains(object))
}

/// Lists and leaves must be alike; what lies inside objects is looked at on its own.
fn same_shape(a: &Type, b: &Type) -> bool {
    a.nullable == b.nullable
        && match (&a.base, &b.base) {
            (BaseType::List(a), BaseType::List(b)) => same_shape(a, b),
            (BaseType::Named(a), BaseType::Named(b)) => {
                a == b || (SCHEMA.is_composite(a) && SCHEMA.is_composite(b))
            }
            _ => false,
        }
}

/// Whether a variable may stand where that type is expected.
fn is_allowed(variable: &Type, expected: &Type, has_default: bool) -> bool {
    if !expected.nullable && variable.nullable && !has_default {
        return false;
    }
    match (&variable.base, &expected.base) {
        (BaseType::List(variable), BaseType::List(expected)) => {
            is_allowed(variable, expected, false)
        }
        (BaseType::Named(variable), BaseType::Named(expected)) => variable == expected,
        _ => false,
    }
}

/// The variables of a request, judged by their declarations. Others are passed over.
pub(super) fn variables(
    operation: &OperationDefinition,
    given: &Map<String, Value>,
) -> Result<Map<String, Value>, Vec<String>> {
    let (mut whole, mut errors) = (Map::new(), Vec::new());
    for variable in &operation.variable_definitions {
        let variable: &Positioned<_> = variable;
        let definition = &variable.node;
        let (key, of) = (definition.name.node.to_string(), &definition.var_type.node);
        match (given.get(&key), &definition.default_value) {
            (Some(value), _) => {
                match coerced(of, value, &format!("Variable '${key}' got invalid value at '{key}"))
                {
                    Ok(value) => {
                        whole.insert(key, value);
                    }
                    Err(error) => errors.push(error),
                }
            }
            (None, Some(default)) => {
                whole.insert(key, constant(&default.node));
            }
            (None, None) if !of.nullable => {
                errors.push(format!("Variable '${key}' of required type '{of}' was not provided."));
            }
            (None, None) => {}
        }
    }
    if errors.is_empty() { Ok(whole) } else { Err(errors) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn complaints(text: &str) -> String {
        match parsed(text) {
            Ok(document) => validate(&document, &[]).join("\n"),
            Err(error) => error,
        }
    }

    #[test]
    fn good_documents_have_no_fault() {
        for good in [
            "{ getMyUser { __typename ... on User { id memberships(input: {first: 5}) { edges { \
             node { role workspace { id name } } } } } ... on Error { message } } }",
            "query Q($id: ID!) { getFileById(input: {fileId: $id}) { ...F ...E } } \
             fragment F on File { url } fragment E on Error { code }",
            "mutation($input: TransformPromptInput!) { transformPrompt(input: $input) { \
             ... on StringWrapper { value } } }",
            "query($s: [StyleStatus!] = [COMPLETE], $x: Boolean!) { listStyles(input: {status: $s}) \
             { __typename @include(if: $x) } }",
        ] {
            assert_eq!(complaints(good), "", "{good}");
        }
    }

    #[test]
    fn complaints_are_those_of_the_service() {
        for (bad, words) in [
            ("{ getMyUser { ... on User { nope } } }", "Cannot query field 'nope' on type 'User'."),
            ("{ getMyUser }", "must have a selection of subfields"),
            ("{ getMyUser { ... on User { id { x } } } }", "must not have a selection"),
            ("{ getFileById { __typename } }", "argument 'input' of type 'GetFileByIdInput!'"),
            (
                "{ getMyUser(x: 1) { __typename } }",
                "Unknown argument 'x' on field 'Query.getMyUser'",
            ),
            (
                "{ getStyleById(input: {}) { __typename } }",
                "'GetStyleByIdInput.styleId' of required",
            ),
            ("{ getFileById(input: {a: 1}) { __typename } }", "Field 'a' is not defined by type"),
            ("{ listStyles(input: {status: [NAP]}) { __typename } }", "Value 'NAP' does not exist"),
            ("{ listStyles(input: {status: \"DRAFT\"}) { __typename } }", "non-enum value"),
            ("{ listStyles(input: {first: \"5\"}) { __typename } }", "Int cannot represent"),
            ("{ listStyles(input: {first: 99999999999}) { __typename } }", "32-bit"),
            ("{ getMyUser { ... on File { id } } }", "can never be of type 'File'"),
            ("{ getMyUser { ...F } } fragment F on File { id }", "Fragment 'F' cannot be spread"),
            ("{ getMyUser { ...F } }", "Unknown fragment 'F'."),
            ("{ getMyUser { __typename } } fragment F on File { id }", "'F' is never used."),
            ("{ getMyUser { ... on Nope { id } } }", "Unknown type 'Nope'."),
            ("{ getMyUser { ...F } } fragment F on User { ...F }", "within itself"),
            ("query Q { getFileById(input: {fileId: $x}) { __typename } }", "by operation 'Q'"),
            ("query Q($x: ID) { getMyUser { __typename } }", "never used in operation 'Q'"),
            (
                "query($x: ID) { getStyleById(input: {styleId: $x}) { __typename } }",
                "Variable '$x' of type 'ID' used in position expecting type 'ID!'.",
            ),
            ("query($x: File) { getMyUser { __typename } }", "non-input type 'File'"),
            ("subscription { x }", "subscription"),
            ("{ getMyUser @loud { __typename } }", "Unknown directive '@loud'."),
            ("{ getMyUser { ... on User { a: id a: name } } }", "'id' and 'name' are different"),
            (
                "{ getMyUser { ... on User { name: id } ... on Error { name: data } } }",
                "conflicting types 'ID!' and 'JSON'",
            ),
            ("{ getMyUser {", "Syntax Error: "),
            ("", "Syntax Error: "),
        ] {
            let text = complaints(bad);
            assert!(text.contains(words), "{bad}: {text}");
        }
    }

    #[test]
    fn hostile_documents_are_refused() {
        let deep = "{a".repeat(60_000);
        assert!(complaints(&deep).contains("longer than"));
        assert!(complaints(&"{a".repeat(5_000)).contains("nested deeper"));
        assert!(complaints(&format!("{{ a(x: {}) }}", "[".repeat(5_000))).contains("nested"));
        let owner = "workspace { files(input: {}) { edges { node { ";
        let long = format!(
            "{{ getFileById(input: {{}}) {{ ... on File {{ {} id {} }} }} }}",
            owner.repeat(9),
            "}".repeat(36)
        );
        assert!(complaints(&long).contains("deeper than"), "{}", complaints(&long));
        let mut bomb = "{ getMyUser { ...F0 } }".to_owned();
        for level in 0..20 {
            let next = level + 1;
            bomb += &format!(" fragment F{level} on User {{ ...F{next} ...F{next} }}");
        }
        bomb += " fragment F20 on User { id }";
        assert!(complaints(&bomb).contains("more than"));
        // Brackets in texts are no nesting.
        let quoted =
            format!("{{ getWorkspaceByName(name: \"{}\") {{ __typename }} }}", "{[(".repeat(99));
        assert_eq!(complaints(&quoted), "");
    }
}
