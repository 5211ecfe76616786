//! What is bought: one run of a model, or one of a workflow.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ids::FileId;
use super::inference::InferenceRequest;
use super::workflow::WorkflowRequest;

/// One paid run. In the journal each is the object of its kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Order {
    /// Of a workflow.
    Workflow(WorkflowRequest),
    /// Of a model.
    Inference(Box<InferenceRequest>),
}

impl From<InferenceRequest> for Order {
    fn from(request: InferenceRequest) -> Self {
        Self::Inference(Box::new(request))
    }
}

impl Order {
    /// The id of the model or workflow.
    pub fn subject(&self) -> &str {
        match self {
            Self::Workflow(request) => request.workflow.as_str(),
            Self::Inference(request) => request.model.as_str(),
        }
    }

    /// What the files are called after: the prompt, or the workflow's name.
    pub fn title(&self) -> &str {
        match self {
            Self::Workflow(request) => &request.name,
            Self::Inference(request) => &request.prompt,
        }
    }

    /// What repeats the result, where there is such a thing.
    pub fn seed(&self) -> Option<u32> {
        self.inference().and_then(|request| request.seed)
    }

    /// The request of a model.
    pub fn inference(&self) -> Option<&InferenceRequest> {
        match self {
            Self::Workflow(_) => None,
            Self::Inference(request) => Some(request),
        }
    }

    /// The files at Layer that it goes by. Of a workflow, whatever may be one.
    pub fn files(&self) -> Vec<FileId> {
        match self {
            Self::Workflow(request) => {
                let values = request.inputs.values().flat_map(|value| match value {
                    Value::Array(values) => values.iter().collect(),
                    single => vec![single],
                });
                values.filter_map(|value| value.as_str()?.parse().ok()).collect()
            }
            Self::Inference(request) => {
                let files = request.references.iter().map(|one| &one.file);
                files.chain(&request.mask).cloned().collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn each_kind_is_read_back_as_what_it_was() {
        let model = "flux".parse().unwrap();
        let inference = Order::from(InferenceRequest::plain(&model, "a knight"));
        let workflow = Order::Workflow(WorkflowRequest {
            workflow: "w-1".parse().unwrap(),
            name: "Icon set".to_owned(),
            inputs: serde_json::from_str(r#"{"image": "f-1", "count": 3}"#).unwrap(),
        });
        for order in [&inference, &workflow] {
            let text = serde_json::to_string(order).unwrap();
            assert_eq!(&serde_json::from_str::<Order>(&text).unwrap(), order);
        }
        assert_eq!((inference.subject(), inference.title()), ("flux", "a knight"));
        assert_eq!((workflow.subject(), workflow.title()), ("w-1", "Icon set"));
        assert_eq!(workflow.files(), ["f-1".parse().unwrap()]);
    }
}
