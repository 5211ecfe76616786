//! A panic is a failed request, not a request without an answer.

use std::{borrow::Cow, panic::AssertUnwindSafe};

use futures::FutureExt;
use rmcp::{
    ErrorData, RoleServer, Service,
    model::{ClientNotification, ClientRequest, ProtocolVersion, ServerConfig, ServerResult},
    service::{NotificationContext, RequestContext},
};

/// A service that answers with an internal error when the one inside panics. rmcp would answer
/// nothing, and the client would wait for its time-out.
///
/// The panic hook has reported the panic by then; what it said is not sent to the client.
#[derive(Debug)]
pub struct PanicGuard<S>(pub S);

impl<S: Service<RoleServer>> Service<RoleServer> for PanicGuard<S> {
    async fn handle_request(
        &self,
        request: ClientRequest,
        context: RequestContext<RoleServer>,
    ) -> Result<ServerResult, ErrorData> {
        let method = request.method().to_owned();
        // Unwind safety: nothing of the request outlives it but what the service shares between
        // requests, and that is behind locks which tell of their poisoning.
        let answer = AssertUnwindSafe(self.0.handle_request(request, context)).catch_unwind().await;
        answer.unwrap_or_else(|_| {
            let what = format!("`{method}` failed because of a mistake in this server");
            Err(ErrorData::internal_error(what, None))
        })
    }

    async fn handle_notification(
        &self,
        notification: ClientNotification,
        context: NotificationContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.0.handle_notification(notification, context).await
    }

    fn get_info(&self) -> ServerConfig {
        self.0.get_info()
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        self.0.supported_protocol_versions()
    }
}
