//! Carries out an operation: the fields of each object in the order of the document, and only
//! those.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_graphql_parser::Positioned;
use async_graphql_parser::types::{
    BaseType, Directive, ExecutableDocument, Field, OperationDefinition, Selection, SelectionSet,
    Type,
};
use futures::future::{BoxFuture, FutureExt as _};
use serde_json::{Map, Value, json};

use super::super::App;
use super::super::answers::ApiError;
use super::super::faults::Fault;
use super::objects::{Entity, field};
use super::schema::SCHEMA;
use super::{JOKE, operations, validate, values};

/// Lists of lists of lists: how many fields are answered at most.
const MAX_ANSWERED: usize = 50_000;

/// Why an operation has no answer.
#[derive(Debug)]
pub(super) enum Failure {
    Message(String),
    Answer(ApiError),
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Answer(error)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Answer(error.into())
    }
}

/// What a field holds, before its own fields are chosen.
#[derive(Clone, Debug)]
pub(super) enum Held {
    /// A leaf, or null.
    Leaf(Value),
    List(Vec<Held>),
    Object(&'static str, Entity),
}

impl Held {
    pub(super) const NULL: Self = Self::Leaf(Value::Null);

    /// An object whose fields are all there.
    pub(super) fn plain<const N: usize>(
        of: &'static str,
        fields: [(&'static str, Held); N],
    ) -> Self {
        Self::Object(of, Entity::Plain(fields.into()))
    }

    /// The member of a union that says what went wrong.
    fn error(kind: &str, code: &str, title: &str, message: &str) -> Self {
        Self::plain(
            "Error",
            [("type", kind), ("code", code), ("title", title), ("message", message)]
                .map(|(name, text)| (name, Self::Leaf(text.into()))),
        )
    }

    pub(super) fn refusal(error: &ApiError) -> Self {
        let (kind, code, title, message) = error.member();
        Self::error(kind, code, title, &message)
    }
}

impl<T: Into<Value>> From<T> for Held {
    fn from(value: T) -> Self {
        Self::Leaf(value.into())
    }
}

/// One operation underway.
pub(super) struct Execution<'a> {
    app: &'a Arc<App>,
    document: &'a ExecutableDocument,
    variables: Map<String, Value>,
    answered: AtomicUsize,
}

impl<'a> Execution<'a> {
    pub(super) fn new(
        app: &'a Arc<App>,
        document: &'a ExecutableDocument,
        variables: Map<String, Value>,
    ) -> Self {
        Self { app, document, variables, answered: AtomicUsize::new(0) }
    }

    pub(super) async fn run(self, operation: &OperationDefinition) -> Result<Value, Failure> {
        let root = Entity::Root;
        self.object(validate::root(operation), &root, vec![&operation.selection_set.node]).await
    }

    fn object<'s>(
        &'s self,
        of: &'static str,
        entity: &'s Entity,
        sets: Vec<&'s SelectionSet>,
    ) -> BoxFuture<'s, Result<Value, Failure>> {
        async move {
            let mut chosen = Vec::new();
            for set in sets {
                self.collect(of, set, &mut chosen);
            }
            let mut answer = Map::new();
            for (key, fields) in chosen {
                if self.answered.fetch_add(1, Ordering::Relaxed) > MAX_ANSWERED {
                    let text = format!("The answer has more than {MAX_ANSWERED} fields.");
                    return Err(Failure::Message(text));
                }
                let value = self.field(of, entity, &fields).await?;
                answer.insert(key.to_owned(), value);
            }
            Ok(answer.into())
        }
        .boxed()
    }

    async fn field(
        &self,
        of: &'static str,
        entity: &Entity,
        fields: &[&Field],
    ) -> Result<Value, Failure> {
        let Some(first) = fields.first() else {
            return Ok(Value::Null);
        };
        let name = first.name.node.as_str();
        if name == "__typename" {
            return Ok(of.into());
        }
        let Some(definition) = SCHEMA.field(of, name) else {
            return Err(Failure::Message(format!("Cannot query field '{name}' on type '{of}'.")));
        };
        let arguments = values::arguments(&definition.arguments, &first.arguments, &self.variables)
            .map_err(Failure::Message)?;
        let expected = &definition.ty.node;
        let held = match entity {
            Entity::Root => self.operation(name, expected, arguments).await?,
            entity => field(self.app, entity, name, arguments).await?,
        };
        let sets = fields.iter().map(|field| &field.selection_set.node).collect();
        let value = self.completed(held, sets).await?;
        if value.is_null() && !expected.nullable {
            let text = format!("Cannot return null for non-nullable field {of}.{name}.");
            return Err(Failure::Message(text));
        }
        Ok(value)
    }

    /// An operation as the faults will have it. What it refuses is a member of its union.
    async fn operation(
        &self,
        name: &str,
        expected: &Type,
        arguments: Map<String, Value>,
    ) -> Result<Held, Failure> {
        let refused = if self.app.faults.strikes(Fault::GraphqlDomainError) {
            let title = "Internal Server Error";
            Some(Held::error("INTERNAL_SERVER_ERROR", "INTERNAL_SERVER_ERROR", title, JOKE))
        } else if self.app.faults.strikes(Fault::GraphqlForbidden) {
            let text = "You do not have permission to do this.";
            Some(Held::error("FORBIDDEN_ERROR", "FORBIDDEN", "Forbidden", text))
        } else {
            match operations::carry_out(self.app, name, arguments).await {
                Ok(held) => return Ok(held),
                Err(ApiError::Dropped) => return Err(ApiError::Dropped.into()),
                Err(error) => Some(Held::refusal(&error)),
            }
        };
        let refused = refused.unwrap_or(Held::NULL);
        let is_list = matches!(expected.base, BaseType::List(_));
        Ok(if is_list { Held::List(vec![refused]) } else { refused })
    }

    async fn completed(&self, held: Held, sets: Vec<&SelectionSet>) -> Result<Value, Failure> {
        match held {
            Held::Leaf(value) => Ok(value),
            Held::Object(of, entity) => self.object(of, &entity, sets).await,
            Held::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    list.push(Box::pin(self.completed(item, sets.clone())).await?);
                }
                Ok(list.into())
            }
        }
    }

    /// The fields that an object of that type shall have, by the key they are answered under.
    fn collect<'s>(
        &'s self,
        of: &str,
        set: &'s SelectionSet,
        chosen: &mut Vec<(&'s str, Vec<&'s Field>)>,
    ) {
        for item in &set.items {
            if !self.is_included(item.node.directives()) {
                continue;
            }
            match &item.node {
                Selection::Field(field) => {
                    let field = &field.node;
                    let key = field.response_key().node.as_str();
                    match chosen.iter_mut().find(|(known, _)| *known == key) {
                        Some((_, fields)) => fields.push(field),
                        None => chosen.push((key, vec![field])),
                    }
                }
                Selection::InlineFragment(part) => {
                    let condition = part.node.type_condition.as_ref();
                    if condition.is_none_or(|on| fits(of, &on.node.on.node)) {
                        self.collect(of, &part.node.selection_set.node, chosen);
                    }
                }
                Selection::FragmentSpread(spread) => {
                    let name = spread.node.fragment_name.node.as_str();
                    if let Some(fragment) = self.document.fragments.get(name)
                        && fits(of, &fragment.node.type_condition.node.on.node)
                    {
                        self.collect(of, &fragment.node.selection_set.node, chosen);
                    }
                }
            }
        }
    }

    fn is_included(&self, directives: &[Positioned<Directive>]) -> bool {
        directives.iter().all(|directive| {
            let given = directive.node.get_argument("if");
            let value = given.and_then(|given| values::plain(&given.node, &self.variables));
            value != Some(json!(directive.node.name.node == "skip"))
        })
    }
}

fn fits(of: &str, condition: &str) -> bool {
    SCHEMA.objects(condition).iter().any(|object| object == of)
}
