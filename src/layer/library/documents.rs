//! The GraphQL documents. A field with a `?` is left out where the live schema lost it.

use super::super::graphql::Document;

macro_rules! documents {
    ($($name:ident, $kind:literal, $operation:literal, $root:literal, $variables:literal, $text:literal;)+) => {
        $(pub(super) const $name: Document = Document {
            name: $operation,
            root: $root,
            is_read: matches!($kind.as_bytes(), b"query"),
            text: concat!($kind, " ", $operation, " ", $variables, " { ", $text, " }"),
        };)+
    };
}

documents! {
    MEMBERSHIPS, "query", "Memberships", "getMyUser", "",
    "getMyUser { __typename ... on User { memberships(input: { first: 100 }) { edges { node { \
     workspace { id name } } } } } ... on Error { type code title message } }";

    PLAN, "query", "WorkspacePlan", "getWorkspaceByName", "($name: String!)",
    "getWorkspaceByName(name: $name) { __typename ... on Workspace { id planTier? \
     disabledModalities? } ... on Error { type code title message } }";

    USAGE, "query", "WorkspaceUsage", "getWorkspaceUsage", "($input: GetWorkspaceUsageInput!)",
    "getWorkspaceUsage(input: $input) { __typename ... on WorkspaceUsage { entitlement { balance \
     usage } usage { byDate top } } ... on Error { type code title message } }";

    STYLES, "query", "WorkspaceStyles", "getWorkspaceByName",
    "($name: String!, $input: GetWorkspaceStylesInput!)",
    "getWorkspaceByName(name: $name) { __typename ... on Workspace { id styles(input: $input) { \
     pageInfo { hasNextPage endCursor totalCount? } edges { node { id name description? status \
     contentType? modality? promptPrefix? promptSuffix? trainingReadinessErrors? } } } } \
     ... on Error { type code title message } }";

    PUBLIC_STYLES, "query", "PublicStyles", "listStyles", "($input: ListStylesInput!)",
    "listStyles(input: $input) { __typename ... on StylesConnection { pageInfo { hasNextPage \
     endCursor totalCount? } edges { node { id name description? status contentType? modality? \
     promptPrefix? promptSuffix? trainingReadinessErrors? } } } ... on Error { type code title \
     message } }";

    STYLE, "query", "OneStyle", "getStyleById", "($input: GetStyleByIdInput!)",
    "getStyleById(input: $input) { __typename ... on Style { id name description? status \
     contentType? modality? promptPrefix? promptSuffix? trainingReadinessErrors? } ... on Error { \
     type code title message } }";

    CREATE_STYLE, "mutation", "CreateStyle", "createStyle", "($input: CreateStyleInput!)",
    "createStyle(input: $input) { __typename ... on Style { id name description? status \
     contentType? modality? promptPrefix? promptSuffix? trainingReadinessErrors? } ... on Error { \
     type code title message } }";

    DESCRIBE, "mutation", "DescribeImage", "describeImage", "($input: DescribeImageInput!)",
    "describeImage(input: $input) { __typename ... on StringWrapper { value } ... on Error { type \
     code title message } }";

    GENERATE_PROMPT, "mutation", "GeneratePrompt", "generatePrompt",
    "($input: GeneratePromptInput!)",
    "generatePrompt(input: $input) { __typename ... on StringWrapper { value } ... on Error { type \
     code title message } }";

    TRANSFORM_PROMPT, "mutation", "TransformPrompt", "transformPrompt",
    "($input: TransformPromptInput!)",
    "transformPrompt(input: $input) { __typename ... on StringWrapper { value } ... on Error { \
     type code title message } }";

    FILES, "query", "Files", "getFilesById", "($input: GetFilesByIdInput!)",
    "getFilesById(input: $input) { __typename ... on File { id url } ... on Error { type code \
     title message } }";

    PAST_RUNS, "query", "PastRuns", "getWorkspaceByName",
    "($name: String!, $input: GetWorkspaceInferencesInput!)",
    "getWorkspaceByName(name: $name) { __typename ... on Workspace { id inferences(input: $input) \
     { pageInfo { hasNextPage endCursor totalCount? } edges { node { id status createdAt \
     parameters errorCode? styles { id name } files { id name status contentType sizeBytes? width? \
     height? createdAt isGenerated? autoCaption? } } } } } ... on Error { type code title message \
     } }";

    PAST_FILES, "query", "PastFiles", "getWorkspaceByName",
    "($name: String!, $input: GetWorkspaceFilesInput!)",
    "getWorkspaceByName(name: $name) { __typename ... on Workspace { id files(input: $input) { \
     pageInfo { hasNextPage endCursor totalCount? } edges { node { id name status contentType \
     sizeBytes? width? height? createdAt isGenerated? autoCaption? } } } } ... on Error { type \
     code title message } }";

    SESSIONS, "query", "Sessions", "getWorkspaceByName",
    "($name: String!, $input: GetSessionsInput!)",
    "getWorkspaceByName(name: $name) { __typename ... on Workspace { id sessions(input: $input) { \
     pageInfo { hasNextPage endCursor totalCount? } edges { node { id name status createdAt \
     lastInteractedAt? } } } } ... on Error { type code title message } }";
}
