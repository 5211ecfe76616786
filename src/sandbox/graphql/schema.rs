//! The schema: read once from its file by the grammar's own reader, and asked by name.

use std::collections::HashMap;
use std::sync::LazyLock;

use async_graphql_parser::parse_schema;
use async_graphql_parser::types::{
    BaseType, FieldDefinition, InputValueDefinition, Type, TypeKind, TypeSystemDefinition,
};

/// The types of the schema by name.
#[derive(Debug, Default)]
pub(super) struct Schema {
    types: HashMap<String, TypeKind>,
}

/// The schema of the file. A test holds that it can be read.
pub(super) static SCHEMA: LazyLock<Schema> =
    LazyLock::new(|| Schema::read(include_str!("schema.graphql")).unwrap_or_default());

const SCALARS: &[&str] = &["ID", "String", "Int", "Float", "Boolean"];

impl Schema {
    fn read(text: &str) -> Result<Self, async_graphql_parser::Error> {
        let mut types = HashMap::new();
        for definition in parse_schema(text)?.definitions {
            if let TypeSystemDefinition::Type(definition) = definition {
                let definition = definition.node;
                types.insert(definition.name.node.to_string(), definition.kind);
            }
        }
        for name in SCALARS {
            types.insert((*name).to_owned(), TypeKind::Scalar);
        }
        Ok(Self { types })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.types.contains_key(name)
    }

    pub(super) fn field(&self, on: &str, name: &str) -> Option<&FieldDefinition> {
        match self.types.get(on)? {
            TypeKind::Object(object) => {
                object.fields.iter().map(|field| &field.node).find(|field| field.name.node == *name)
            }
            _ => None,
        }
    }

    /// The fields of an input, if the type is one.
    pub(super) fn inputs(&self, name: &str) -> Option<Vec<&InputValueDefinition>> {
        match self.types.get(name)? {
            TypeKind::InputObject(input) => {
                Some(input.fields.iter().map(|field| &field.node).collect())
            }
            _ => None,
        }
    }

    /// Whether a value of an enum exists; `None` when the type is no enum.
    pub(super) fn has_value(&self, name: &str, value: &str) -> Option<bool> {
        match self.types.get(name)? {
            TypeKind::Enum(words) => {
                Some(words.values.iter().any(|word| word.node.value.node == *value))
            }
            _ => None,
        }
    }

    /// The objects that a field of this type can hold; none for a leaf.
    pub(super) fn objects(&self, name: &str) -> Vec<String> {
        match self.types.get(name) {
            Some(TypeKind::Object(_)) => vec![name.to_owned()],
            Some(TypeKind::Union(union)) => {
                union.members.iter().map(|member| member.node.to_string()).collect()
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn is_composite(&self, name: &str) -> bool {
        matches!(self.types.get(name), Some(TypeKind::Object(_) | TypeKind::Union(_)))
    }

    /// Whether a variable can be of that type.
    pub(super) fn is_input(&self, name: &str) -> bool {
        self.has(name) && !self.is_composite(name)
    }
}

/// The name at the heart of a type: `[File!]!` is of `File`.
pub(super) fn named(of: &Type) -> &str {
    let mut of = of;
    loop {
        match &of.base {
            BaseType::Named(name) => return name.as_str(),
            BaseType::List(inner) => of = inner,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn the_schema_can_be_read_and_is_whole() {
        let schema = Schema::read(include_str!("schema.graphql")).unwrap();
        let known = |of: &Type| assert!(schema.has(named(of)), "{of}");
        for kind in schema.types.values() {
            match kind {
                TypeKind::Object(object) => {
                    for field in &object.fields {
                        known(&field.node.ty.node);
                        field.node.arguments.iter().for_each(|a| known(&a.node.ty.node));
                    }
                }
                TypeKind::InputObject(input) => {
                    input.fields.iter().for_each(|field| known(&field.node.ty.node));
                }
                TypeKind::Union(union) => {
                    assert!(union.members.iter().all(|member| schema.has(&member.node)));
                }
                _ => {}
            }
        }
        assert!(schema.field("Query", "getMyUser").is_some());
    }
}
