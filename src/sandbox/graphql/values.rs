//! Values against types: literals of a document, and the variables that come beside it.

use async_graphql_parser::types::{BaseType, Type};
use async_graphql_parser::{Positioned, types::InputValueDefinition};
use async_graphql_value::{ConstValue, Name, Value as Literal};
use serde_json::{Map, Value, json};

use super::schema::SCHEMA;

/// Where a document uses a variable, and what is expected there.
#[derive(Clone, Debug)]
pub(super) struct Usage {
    pub(super) name: String,
    pub(super) expected: Type,
    /// A position with a default may be left out.
    pub(super) has_default: bool,
}

/// What is noted while literals are looked at.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) errors: Vec<String>,
    pub(super) usages: Vec<Usage>,
}

/// Whether an argument or an input field has to be given.
pub(super) fn is_required(definition: &InputValueDefinition) -> bool {
    !definition.ty.node.nullable && definition.default_value.is_none()
}

/// Judges a literal of a document.
pub(super) fn judge(expected: &Type, literal: &Literal, has_default: bool, found: &mut Findings) {
    match literal {
        Literal::Variable(name) => {
            let (name, expected) = (name.to_string(), expected.clone());
            found.usages.push(Usage { name, expected, has_default });
        }
        Literal::Null => {
            if !expected.nullable {
                found.errors.push(format!("Expected value of type '{expected}', found null."));
            }
        }
        _ => match &expected.base {
            BaseType::List(inner) => match literal {
                Literal::List(items) => {
                    for item in items {
                        judge(inner, item, false, found);
                    }
                }
                single => judge(inner, single, false, found),
            },
            BaseType::Named(name) => judge_named(expected, name, literal, found),
        },
    }
}

fn judge_named(expected: &Type, name: &str, literal: &Literal, found: &mut Findings) {
    if let Some(fields) = SCHEMA.inputs(name) {
        let Literal::Object(given) = literal else {
            found.errors.push(format!("Expected value of type '{expected}', found {literal}."));
            return;
        };
        for field in &fields {
            let field_name = &field.name.node;
            match given.get(field_name) {
                Some(value) => {
                    judge(&field.ty.node, value, field.default_value.is_some(), found);
                }
                None if is_required(field) => found.errors.push(format!(
                    "Field '{name}.{field_name}' of required type '{}' was not provided.",
                    field.ty.node
                )),
                None => {}
            }
        }
        for field in given.keys() {
            if !fields.iter().any(|known| known.name.node == *field) {
                found.errors.push(format!("Field '{field}' is not defined by type '{name}'."));
            }
        }
        return;
    }
    let is_enum = SCHEMA.has_value(name, "").is_some();
    let complaint = match literal {
        Literal::Enum(word) if is_enum => wrong_word(name, word),
        other if is_enum => {
            Some(format!("Enum '{name}' cannot represent non-enum value: {other}."))
        }
        Literal::Enum(word) if !matches!(name, "JSON") && is_strict(name) => {
            wrong_scalar(name, &Value::Null).map(|text| format!("{text}{word}"))
        }
        // Scalars without a shape take whatever comes, with variables in it too.
        Literal::List(_) | Literal::Object(_) if !is_strict(name) => {
            free_variables(expected, literal, found);
            None
        }
        other => {
            let value = plain(other, &Map::new()).unwrap_or_default();
            wrong_scalar(name, &value).map(|text| format!("{text}{other}"))
        }
    };
    found.errors.extend(complaint);
}

fn free_variables(expected: &Type, literal: &Literal, found: &mut Findings) {
    match literal {
        Literal::Variable(_) => judge(expected, literal, false, found),
        Literal::List(items) => items.iter().for_each(|i| free_variables(expected, i, found)),
        Literal::Object(fields) => {
            fields.values().for_each(|value| free_variables(expected, value, found));
        }
        _ => {}
    }
}

fn wrong_word(name: &str, word: &str) -> Option<String> {
    (SCHEMA.has_value(name, word) == Some(false))
        .then(|| format!("Value '{word}' does not exist in '{name}' enum."))
}

fn is_strict(scalar: &str) -> bool {
    matches!(scalar, "ID" | "String" | "Int" | "Float" | "Boolean" | "Long" | "DateTime")
}

/// The start of the complaint about a value that its scalar does not hold.
fn wrong_scalar(name: &str, value: &Value) -> Option<String> {
    let is_whole = value.as_f64().is_some_and(|number| number.fract() == 0.0);
    let (fits, complaint) = match name {
        "ID" => (
            value.is_string() || value.is_i64() || value.is_u64(),
            "ID cannot represent a non-string and non-integer value: ".to_owned(),
        ),
        "String" | "DateTime" => {
            (value.is_string(), format!("{name} cannot represent a non string value: "))
        }
        "Int" if is_whole => (
            value.as_f64().is_some_and(|number| number.abs() <= 2_147_483_647.0),
            "Int cannot represent non 32-bit signed integer value: ".to_owned(),
        ),
        "Int" | "Long" => (is_whole, format!("{name} cannot represent non-integer value: ")),
        "Float" => (value.is_number(), "Float cannot represent non numeric value: ".to_owned()),
        "Boolean" => {
            (value.is_boolean(), "Boolean cannot represent a non boolean value: ".to_owned())
        }
        _ => return None,
    };
    (!fits).then_some(complaint)
}

/// Judges a JSON value and fills in the defaults of its inputs. A single value stands for a list
/// of one.
pub(super) fn coerced(expected: &Type, value: &Value, path: &str) -> Result<Value, String> {
    let at = |text: String| format!("{path}'; {text}");
    if value.is_null() {
        return if expected.nullable {
            Ok(Value::Null)
        } else {
            Err(at(format!("Expected non-nullable type '{expected}' not to be None.")))
        };
    }
    let name = match &expected.base {
        BaseType::List(inner) => {
            let items = match value {
                Value::Array(items) => items.iter().enumerate(),
                single => std::slice::from_ref(single).iter().enumerate(),
            };
            return items
                .map(|(position, item)| coerced(inner, item, &format!("{path}[{position}]")))
                .collect();
        }
        BaseType::Named(name) => name.as_str(),
    };
    if let Some(fields) = SCHEMA.inputs(name) {
        let Value::Object(given) = value else {
            return Err(at(format!("Expected type '{name}' to be a mapping.")));
        };
        if let Some(unknown) =
            given.keys().find(|key| !fields.iter().any(|field| field.name.node == **key))
        {
            return Err(at(format!("Field '{unknown}' is not defined by type '{name}'.")));
        }
        let mut whole = Map::new();
        for field in fields {
            let key = field.name.node.to_string();
            match (given.get(&key), &field.default_value) {
                (Some(value), _) => {
                    let value = coerced(&field.ty.node, value, &format!("{path}.{key}"))?;
                    whole.insert(key, value);
                }
                (None, Some(default)) => {
                    whole.insert(key, constant(&default.node));
                }
                (None, None) if is_required(field) => {
                    return Err(at(format!(
                        "Field '{key}' of required type '{}' was not provided.",
                        field.ty.node
                    )));
                }
                (None, None) => {}
            }
        }
        return Ok(whole.into());
    }
    if SCHEMA.has_value(name, "").is_some() {
        let Some(word) = value.as_str() else {
            return Err(at(format!("Enum '{name}' cannot represent non-string value: {value}.")));
        };
        return wrong_word(name, word).map_or_else(|| Ok(value.clone()), |text| Err(at(text)));
    }
    if let Some(text) = wrong_scalar(name, value) {
        return Err(at(format!("{text}{value}")));
    }
    Ok(match (name, value) {
        ("ID", Value::Number(number)) => json!(number.to_string()),
        _ => value.clone(),
    })
}

/// A literal as JSON, with the variables put in. `None`: a variable that was not given.
pub(super) fn plain(literal: &Literal, variables: &Map<String, Value>) -> Option<Value> {
    Some(match literal {
        Literal::Variable(name) => variables.get(name.as_str())?.clone(),
        Literal::Null | Literal::Binary(_) => Value::Null,
        Literal::Number(number) => Value::Number(number.clone()),
        Literal::String(text) => Value::String(text.clone()),
        Literal::Boolean(flag) => Value::Bool(*flag),
        Literal::Enum(word) => word.as_str().into(),
        Literal::List(items) => {
            items.iter().map(|item| plain(item, variables).unwrap_or_default()).collect()
        }
        Literal::Object(fields) => fields
            .iter()
            .filter_map(|(name, value)| Some((name.to_string(), plain(value, variables)?)))
            .collect::<Map<_, _>>()
            .into(),
    })
}

pub(super) fn constant(value: &ConstValue) -> Value {
    plain(&value.clone().into_value(), &Map::new()).unwrap_or_default()
}

/// The arguments of a field as JSON, defaults included.
pub(super) fn arguments(
    definitions: &[Positioned<InputValueDefinition>],
    given: &[(Positioned<Name>, Positioned<Literal>)],
    variables: &Map<String, Value>,
) -> Result<Map<String, Value>, String> {
    let mut whole = Map::new();
    for definition in definitions {
        let definition = &definition.node;
        let name = definition.name.node.as_str();
        let literal = given.iter().find(|(given, _)| given.node == *name);
        let value = literal.and_then(|(_, literal)| plain(&literal.node, variables));
        let path = format!("Invalid value at '{name}");
        match (value, &definition.default_value) {
            (Some(value), _) => {
                whole.insert(name.to_owned(), coerced(&definition.ty.node, &value, &path)?);
            }
            (None, Some(default)) => {
                whole.insert(name.to_owned(), constant(&default.node));
            }
            (None, None) if !definition.ty.node.nullable => {
                let of = &definition.ty.node;
                return Err(format!("Argument '{name}' of required type '{of}' was not provided."));
            }
            (None, None) => {}
        }
    }
    Ok(whole)
}
