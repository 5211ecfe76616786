//! The GraphQL endpoint, as a client meets it.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Bench, answer, fox};

const ERROR: &str = "... on Error { type code title message data }";

impl Bench {
    async fn graphql(&self, query: &str, variables: Value) -> Value {
        let url = format!("{}/graphql", self.sandbox.base_url());
        let body = json!({ "query": query, "variables": variables });
        let request = self.client.post(url).bearer_auth(self.sandbox.token()).json(&body);
        let (status, answer) = answer(request).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// One operation with `$input`; its answer without the wrapping.
    async fn operation(&self, name: &str, input: Value, selection: &str) -> Value {
        let kind =
            if name.starts_with("get") || name == "listStyles" { "query" } else { "mutation" };
        let of = name[..1].to_uppercase() + &name[1..] + "Input!";
        let of = if name == "createInference" { "CreateInferenceInput!" } else { &of };
        let query = format!(
            "{kind}($input: {of}) {{ {name}(input: $input) {{ __typename {selection} }} }}"
        );
        let mut answer = self.graphql(&query, json!({ "input": input })).await;
        assert!(answer.get("errors").is_none(), "{answer}");
        answer["data"][name].take()
    }

    async fn upload(&self, name: &str) -> String {
        let artifact = super::media::Artifact {
            prompt: name.into(),
            width: 64,
            height: 48,
            ..Default::default()
        };
        let bytes = super::media::render::<Vec<u8>>(&artifact, &[], None).unwrap();
        let ask = json!({
            "content_type": "image/png", "file_size_bytes": bytes.len(), "file_name": name
        });
        let (_, file) = self.post(&self.own("/files/upload-url"), ask).await;
        let begin = self
            .client
            .post(file["upload_url"].as_str().unwrap())
            .header("content-length", "0")
            .header("x-goog-resumable", "start")
            .header("content-type", "image/png")
            .header("x-goog-content-length-range", format!("0,{}", bytes.len()));
        let session = begin.send().await.unwrap().headers()["location"].clone();
        let put = self.client.put(session.to_str().unwrap()).header("content-type", "image/png");
        assert_eq!(put.body(bytes).send().await.unwrap().status(), 200);
        file["file_id"].as_str().unwrap().to_owned()
    }

    async fn file(&self, id: &str) -> Value {
        let fields = "... on File { id status url contentType sizeBytes width autoCaption \
                      isGenerated styles { name } inferenceParameters }";
        self.operation("getFileById", json!({ "fileId": id }), &format!("{fields} {ERROR}")).await
    }
}

#[tokio::test]
async fn both_addresses_want_a_post_and_the_token() {
    let bench = Bench::new(&[]).await;
    let body = json!({ "query": "{ getMyUser { __typename } }" });
    for path in ["/graphql", "/", ""] {
        let url = format!("{}{path}", bench.sandbox.base_url());
        let post = bench.client.post(&url).json(&body);
        let (status, data) = answer(post.bearer_auth(bench.sandbox.token())).await;
        assert_eq!((status, &data["data"]["getMyUser"]["__typename"]), (200, &json!("User")));
        assert_eq!(answer(bench.client.post(&url).json(&body)).await.0, 401);
        let get = bench.client.request(Method::GET, &url).bearer_auth(bench.sandbox.token());
        assert_eq!(answer(get).await.0, 405);
    }
    let bad = bench.graphql("{ getMyUser { ... on User { credits } } }", json!(null)).await;
    let text = "Cannot query field 'credits' on type 'User'.";
    assert_eq!(bad, json!({ "errors": [{ "message": text }], "data": null }));
    for (query, variables, words) in [
        ("{", json!({}), "Syntax Error: "),
        (
            "query($i: GetFileByIdInput!) { getFileById(input: $i) { __typename } }",
            json!({ "i": { "fileId": true } }),
            "Variable '$i' got invalid value at 'i.fileId'; ID cannot represent",
        ),
        (
            "query($i: ListStylesInput!) { listStyles(input: $i) { __typename } }",
            json!({ "i": { "status": ["NAP"] } }),
            "Value 'NAP' does not exist in 'StyleStatus' enum.",
        ),
        (
            "query($i: ListStylesInput!) { listStyles(input: $i) { __typename } }",
            json!({}),
            "was not provided",
        ),
    ] {
        let answer = bench.graphql(query, variables).await;
        let text = answer["errors"][0]["message"].as_str().unwrap();
        assert!(text.contains(words) && answer["data"].is_null(), "{answer}");
    }
}

#[tokio::test]
async fn user_workspaces_and_usage_are_told() {
    let bench = Bench::new(&[]).await;
    bench.outputs(fox()).await;
    let query = "query Me { me: getMyUser { ...U } } fragment U on User { id name \
        personalWorkspace { name } memberships(input: {first: 1}) { \
        pageInfo { hasNextPage endCursor totalCount } edges { cursor node { role status \
        workspace { id name displayName planTier planSeats usedSeats } } } } }";
    let me = bench.graphql(query, json!({})).await["data"]["me"].take();
    let edge = &me["memberships"]["edges"][0];
    assert_eq!(edge["node"]["workspace"]["planTier"], "STUDIO");
    assert_eq!(me["memberships"]["pageInfo"]["hasNextPage"], true);
    assert_eq!(me["memberships"]["pageInfo"]["endCursor"], edge["cursor"]);

    let query = "query W($name: String!) { getWorkspaceByName(name: $name) { ... on Workspace { \
        id planTier disabledModalities availableInferenceModes featureFlags allowNsfwGenerations \
        myRole inferences(input: {mineOnly: true, status: [COMPLETE]}) { edges { node { id status \
        parameters files { url } styles { id type } workspace { name } } } } \
        running: inferences(input: {status: [IN_PROGRESS]}) { edges { cursor } } \
        files(input: {first: 1}) { pageInfo { hasNextPage totalCount endCursor } edges { node { id } \
        } } sessions(input: {}) { edges { node { name } } } } ... on Error { code } } }";
    let main = bench.graphql(query, json!({ "name": "sandbox-studio" })).await;
    let main = &main["data"]["getWorkspaceByName"];
    let node = &main["inferences"]["edges"][0]["node"];
    assert_eq!(
        (&node["status"], &node["parameters"]["prompt"]),
        (&json!("COMPLETE"), &json!("a fox"))
    );
    assert_eq!(
        (&node["parameters"]["width"], &node["parameters"]["batchSize"]),
        (&json!(320), &json!(2))
    );
    assert_eq!(node["parameters"]["styles"], json!([{ "id": "flux" }]));
    assert!(node["parameters"]["seed"].is_i64() && node["files"][0]["url"].is_string());
    assert_eq!(node["styles"][0]["type"], "MODEL_URL");
    assert_eq!(main["running"]["edges"], json!([]));
    assert_eq!(main["files"]["pageInfo"]["totalCount"], 2);
    let after = &main["files"]["pageInfo"]["endCursor"];
    let next = bench
        .graphql(
            "query($after: String) { getWorkspaceByName(name: \"sandbox-studio\") { ... on \
             Workspace { files(input: {first: 1, after: $after}) { pageInfo { hasNextPage } edges { \
             node { id } } } } } }",
            json!({ "after": after }),
        )
        .await;
    let files = &next["data"]["getWorkspaceByName"]["files"];
    assert_eq!(files["pageInfo"]["hasNextPage"], false);
    assert_ne!(files["edges"][0]["node"]["id"], main["files"]["edges"][0]["node"]["id"]);
    let empty = bench.graphql(query, json!({ "name": "sandbox-empty" })).await;
    let empty = &empty["data"]["getWorkspaceByName"];
    assert_eq!(
        (&empty["planTier"], &empty["disabledModalities"]),
        (&json!("FREE"), &json!(["THREE_D"]))
    );
    let none = bench.graphql(query, json!({ "name": "nowhere" })).await;
    assert_eq!(none["data"]["getWorkspaceByName"]["code"], "NOT_FOUND");

    let fields = "... on WorkspaceUsage { workspaceId entitlement { balance hasAccess overage usage } \
                  grants { id amount } usage { byDate top } }";
    let ask = json!({ "workspaceId": bench.sandbox.workspace_id(), "filtering": [] });
    let usage = bench.operation("getWorkspaceUsage", ask, fields).await;
    assert_eq!(
        usage["entitlement"],
        json!({ "balance": 498.8, "hasAccess": true, "overage": 0.0, "usage": 1.2 })
    );
    assert_eq!(usage["usage"]["byDate"], json!([{ "date": "2026-09-21", "usage": 1.2 }]));
    assert_eq!(usage["usage"]["top"], json!([{ "key": "flux", "usage": 1.2 }]));
    let ask = json!({
        "workspaceId": bench.sandbox.workspace_id(), "filtering": [], "groupBy": ["MODALITY"]
    });
    let usage = bench.operation("getWorkspaceUsage", ask, fields).await;
    assert_eq!(usage["usage"]["top"][0]["key"], "image");
}

#[tokio::test]
async fn images_are_described_and_prompts_enriched() {
    let bench = Bench::new(&[]).await;
    let workspace = bench.sandbox.workspace_id();
    let outputs = bench.outputs(fox()).await;
    let upload = bench.file(&bench.upload("gem.png").await).await;
    assert_eq!((&upload["status"], &upload["isGenerated"]), (&json!("UPLOADED"), &json!(false)));
    bench.bytes(&json!({ "url": upload["url"], "content_type": "image/png" })).await;
    let ask = json!({ "content_type": "image/png", "file_size_bytes": 10 });
    let (_, pending) = bench.post(&bench.own("/files/upload-url"), ask).await;
    let pending = bench.file(pending["file_id"].as_str().unwrap()).await;
    assert!(pending["status"] == "PENDING" && pending["url"].is_null(), "{pending}");
    assert_eq!(bench.file(workspace).await["type"], "NOT_FOUND_ERROR");
    let made = bench.file(outputs[0]["file_id"].as_str().unwrap()).await;
    assert_eq!((&made["status"], &made["url"]), (&json!("PROCESSED"), &outputs[0]["url"]));
    assert_eq!(made["inferenceParameters"]["prompt"], "a fox");
    let ids = json!({ "fileIds": [made["id"], workspace] });
    let both = bench.graphql(
        "query($input: GetFilesByIdInput!) { getFilesById(input: $input) { __typename } }",
        json!({ "input": ids }),
    );
    let both = both.await;
    assert_eq!(both["data"]["getFilesById"][1]["__typename"], "Error");

    let value = format!("... on StringWrapper {{ value }} {ERROR}");
    let describe = async |url: &Value| {
        let input = json!({ "workspaceId": workspace, "imageUrl": url });
        bench.operation("describeImage", input, &value).await
    };
    let text = describe(&made["url"]).await["value"].as_str().unwrap().to_owned();
    assert!(
        text.contains("a fox") && text.contains("flux") && text.contains("320 by 256"),
        "{text}"
    );
    let text = describe(&upload["url"]).await["value"].as_str().unwrap().to_owned();
    assert!(text.contains("64 by 48") && text.contains("image/png"), "{text}");
    let http = json!(made["url"].as_str().unwrap().replace("https:", "http:"));
    for bad in [json!("https://example.com/a.png"), http, json!(null)] {
        assert_eq!(describe(&bad).await["type"], "BAD_REQUEST_ERROR", "{bad}");
    }
    let input = json!({ "workspaceId": workspace, "prompt": "a red lamp", "guidance": "as pixel art",
        "images": [{ "url": upload["url"], "type": "INIT" }] });
    let richer = bench.operation("transformPrompt", input.clone(), &value).await;
    let richer = richer["value"].as_str().unwrap();
    assert!(richer.contains("a red lamp") && richer.contains("as pixel art") && richer.len() > 60);
    let mut bad = input;
    bad["images"][0]["url"] = "https://127.0.0.1:1/x".into();
    assert_eq!(bench.operation("transformPrompt", bad, &value).await["type"], "BAD_REQUEST_ERROR");
    let idea = bench.operation("generatePrompt", json!({ "workspaceId": workspace }), &value).await;
    assert!(idea["value"].as_str().unwrap().len() > 20);
}

#[tokio::test]
async fn a_style_is_made_trained_used_and_deleted() {
    let bench = Bench::new(&[]).await;
    let workspace = bench.sandbox.workspace_id();
    let fields = format!(
        "... on Style {{ id name slug status trainingReadinessErrors inputFiles {{ caption file {{ \
         id }} }} activeFinetune {{ status }} }} {ERROR}"
    );
    let mut files = Vec::new();
    for name in ["a.png", "b.png", "c.png", "d.png"] {
        files.push(json!({ "fileId": bench.upload(name).await, "caption": name }));
    }
    let draft = json!({ "workspaceId": workspace, "name": "Gems", "inputFiles": files[..3] });
    let style = bench.operation("createStyle", draft.clone(), &fields).await;
    assert_eq!(
        (&style["status"], &style["inputFiles"][2]["caption"]),
        (&json!("DRAFT"), &json!("c.png"))
    );
    assert_eq!(style["trainingReadinessErrors"].as_array().unwrap().len(), 1);
    let as_model = |style: &Value| {
        json!({ "model_id": style["id"], "prompt": "a gem", "batch_size": 1, "width": 256,
            "height": 256 })
    };
    let estimate = bench.own("/inferences/estimate");
    assert_eq!(bench.post(&estimate, as_model(&style)).await.0, 422);
    let mut early = draft.clone();
    early["triggerTraining"] = true.into();
    let refused = bench.operation("createStyle", early, &fields).await;
    assert_eq!(refused["type"], "BAD_REQUEST_ERROR");
    let unknown = json!({ "workspaceId": workspace, "inputFiles": [{ "fileId": workspace }] });
    assert_eq!(bench.operation("createStyle", unknown, &fields).await["type"], "BAD_REQUEST_ERROR");
    let named = json!({ "styleId": style["id"], "name": "Jewels", "description": "d" });
    assert_eq!(bench.operation("updateStyle", named, &fields).await["name"], "Jewels");

    let whole = json!({ "workspaceId": workspace, "name": "Gems", "inputFiles": files,
        "triggerTraining": true });
    let style = bench.operation("createStyle", whole, &fields).await;
    assert_eq!(style["status"], "INITIALIZING");
    assert_eq!(bench.money().await, (500.0, 0.0, 500.0));
    let get = async |style: &Value| {
        bench.operation("getStyleById", json!({ "styleId": style["id"] }), &fields).await
    };
    bench.clock.advance_ms(4_000);
    assert_eq!(get(&style).await["status"], "BUILDING");
    bench.clock.advance_ms(4_000);
    assert_eq!(get(&style).await["activeFinetune"]["status"], "COMPLETE");
    assert_eq!(bench.money().await, (450.0, 0.0, 450.0));
    let (_, price) = bench.post(&estimate, as_model(&style)).await;
    assert_eq!(price["estimated_price_creative_units"], 0.8);
    let outputs = bench.outputs(as_model(&style)).await;
    bench.bytes(&outputs[0]).await;
    let (_, models) = bench.get(&bench.own("/models?limit=100")).await;
    assert!(!models.to_string().contains(style["id"].as_str().unwrap()));

    let list = bench
        .graphql(
            "{ getWorkspaceByName(name: \"sandbox-studio\") { ... on Workspace { styles(input: \
             {status: [COMPLETE], includeFeatured: true}) { edges { path node { name } } } } } \
             listStyles(input: {isFeatured: true}) { ... on StylesConnection { edges { node { \
             status } } } } }",
            json!({}),
        )
        .await;
    assert_eq!(list["data"]["getWorkspaceByName"]["styles"]["edges"].as_array().unwrap().len(), 4);
    assert_eq!(list["data"]["listStyles"]["edges"].as_array().unwrap().len(), 3);
    let by_slug = "query($s: String) { getWorkspaceByName(name: \"sandbox-studio\") { ... on \
        Workspace { style(input: {idType: SLUG, id: $s}) { ... on Style { id } } } } }";
    let found = bench.graphql(by_slug, json!({ "s": style["slug"] })).await;
    assert_eq!(found["data"]["getWorkspaceByName"]["style"]["id"], style["id"]);

    let delete = "mutation($i: DeleteStyleInput!) { deleteStyle(input: $i) { message } }";
    let gone = bench.graphql(delete, json!({ "i": { "styleId": style["id"] } })).await;
    assert!(gone["data"]["deleteStyle"].is_null() && gone.get("errors").is_none());
    assert_eq!(get(&style).await["type"], "NOT_FOUND_ERROR");
    assert_eq!(bench.post(&estimate, as_model(&style)).await.0, 404);
}

#[tokio::test]
async fn inferences_and_cut_outs_are_made_and_charged() {
    let bench = Bench::new(&[]).await;
    let workspace = bench.sandbox.workspace_id();
    let fields = format!(
        "... on Inference {{ id status parameters session {{ name }} files {{ url status }} }} {ERROR}"
    );
    let ask = json!({ "workspaceId": workspace, "parameters": { "prompt": "a fox" } });
    let refused = bench.operation("createInference", ask.clone(), &fields).await;
    assert_eq!(refused["message"], "At least one style must be provided");
    assert_eq!(refused["type"], "BAD_REQUEST_ERROR");
    let named = json!({ "workspaceId": workspace, "name": "icons" });
    let session =
        "... on Session { id name status inferences(input: {}) { edges { node { id } } } }";
    let made = bench.operation("createSession", named, session).await;
    let mut ask = ask;
    ask["sessionId"] = made["id"].clone();
    ask["parameters"] = json!({ "generationType": "CREATE", "styles": [{ "id": "flux" }],
        "prompt": "a fox", "seed": 7, "width": 256, "height": 256, "batchSize": 1 });
    let run = bench.operation("createInference", ask.clone(), &fields).await;
    assert_eq!((&run["status"], &run["session"]["name"]), (&json!("IN_PROGRESS"), &json!("icons")));
    bench.clock.advance_ms(10_000);
    let known = format!(
        "... on InferencesResult {{ inferences {{ {} }} }}",
        "id status parameters files { url }"
    );
    let ids = json!({ "inferenceIds": [run["id"]] });
    let done = bench.operation("getInferencesById", ids.clone(), &known).await;
    let done = &done["inferences"][0];
    assert_eq!((&done["status"], &done["parameters"]["seed"]), (&json!("COMPLETE"), &json!(7)));
    let polled = bench.poll(&json!({ "inference_id": run["id"] })).await;
    assert_eq!(polled["outputs"][0]["url"], done["files"][0]["url"]);
    bench.faults(&["graphql_parameters_string"]);
    let text = bench.operation("getInferencesById", ids.clone(), &known).await;
    assert!(text["inferences"][0]["parameters"].as_str().unwrap().contains("\"seed\":7"));
    bench.faults(&[]);
    let get = json!({ "sessionId": made["id"] });
    let session = bench.operation("getSessionById", get, session).await;
    assert_eq!(session["inferences"]["edges"][0]["node"]["id"], run["id"]);

    let before = bench.money().await.0;
    let raw = format!("... on RawImage {{ uri contentType }} {ERROR}");
    let cut = json!({ "workspaceId": workspace, "imageUrl": done["files"][0]["url"] });
    let image = bench.operation("removeBackground", cut, &raw).await;
    bench.bytes(&json!({ "url": image["uri"], "content_type": image["contentType"] })).await;
    assert!((before - bench.money().await.0 - 0.1).abs() < 1e-9);
    let none = bench.operation("removeBackground", json!({ "workspaceId": workspace }), &raw).await;
    assert_eq!(none["type"], "BAD_REQUEST_ERROR");

    let delete = "mutation($i: DeleteInferenceInput!) { deleteInference(input: $i) { message } }";
    bench.graphql(delete, json!({ "i": { "inferenceId": run["id"] } })).await;
    let deleted = bench.operation("getInferencesById", ids, &known).await;
    assert_eq!(deleted["inferences"][0]["status"], "DELETED");
    bench.faults(&["insufficient_balance"]);
    let poor = bench.operation("createInference", ask, &fields).await;
    assert_eq!(poor["type"], "PAYMENT_REQUIRED_ERROR");
}

#[tokio::test]
async fn graphql_goes_wrong_as_ordered() {
    let bench = Bench::new(&[]).await;
    let query = "{ getWorkspaceByName(name: \"sandbox-studio\") { __typename ... on Workspace { \
                 planTier } ... on Error { type message } } }";
    let ask = || bench.graphql(query, json!({}));
    let joke = "Oops! Our pixel wizards need a moment to recharge";
    bench.faults(&["graphql_error"]);
    assert_eq!(ask().await, json!({ "errors": [{ "message": joke }], "data": null }));
    for (fault, kind) in [
        ("graphql_domain_error", "INTERNAL_SERVER_ERROR"),
        ("graphql_forbidden", "FORBIDDEN_ERROR"),
    ] {
        bench.faults(&[fault]);
        let error = &ask().await["data"]["getWorkspaceByName"];
        assert_eq!((&error["__typename"], &error["type"]), (&json!("Error"), &json!(kind)));
        assert_eq!(error["message"] == joke, fault == "graphql_domain_error");
    }
    bench.faults(&["graphql_unknown_enum"]);
    assert_eq!(ask().await["data"]["getWorkspaceByName"]["planTier"], "HIBERNATING");
    bench.faults(&["graphql_field_gone:1"]);
    let gone = ask().await;
    let text = "Cannot query field 'planTier' on type 'Workspace'.";
    assert_eq!(gone["errors"][0]["message"], text);
    assert_eq!(ask().await["data"]["getWorkspaceByName"]["planTier"], "STUDIO");
}
