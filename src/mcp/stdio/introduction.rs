//! What `initialize` settled on a connection that had begun without it.
//!
//! A client may look with `server/discover` first and then open a session. rmcp takes the first
//! request for the way in which all others come, and refuses those that don't say in each what
//! `initialize` said once; so it is put into them here.

use rmcp::model::{
    ClientCapabilities, ClientRequest, GetMeta, Implementation, InitializeResult, ProtocolVersion,
};

#[derive(Debug, Default)]
pub(super) struct Introduction {
    /// The first request was no `initialize`.
    looked_first: bool,
    said: Option<(ClientCapabilities, Implementation)>,
    agreed: Option<ProtocolVersion>,
}

impl Introduction {
    /// Takes note of a request on its way to rmcp, and completes it where that is needed.
    pub(super) fn complete(&mut self, request: &mut ClientRequest) {
        match request {
            ClientRequest::InitializeRequest(hello) => {
                let params = &hello.params;
                self.said = Some((params.capabilities.clone(), params.client_info.clone()));
            }
            // It says nothing of how the client talks.
            ClientRequest::PingRequest(_) => {}
            _ if self.said.is_none() => self.looked_first = true,
            _ => {}
        }
        if let (true, Some((capabilities, client)), Some(version)) =
            (self.looked_first, &self.said, &self.agreed)
            && request.get_meta().protocol_version().is_none()
        {
            let meta = request.get_meta_mut();
            meta.set_protocol_version(version.clone());
            meta.set_client_capabilities(capabilities.clone());
            meta.set_client_info(client.clone());
        }
    }

    /// Whether this is a `ping` of a session that rmcp takes for none, and refuses for that.
    pub(super) fn is_ping(&self, request: &ClientRequest) -> bool {
        let is_ping = matches!(request, ClientRequest::PingRequest(_));
        // One that names the newest revision is rightly refused: that has no `ping`.
        let of_session = request.get_meta().protocol_version().is_none();
        is_ping && of_session && self.looked_first && self.agreed.is_some()
    }

    /// Takes note of the answer to `initialize`.
    pub(super) fn settled(&mut self, answer: &InitializeResult) {
        self.agreed = Some(answer.protocol_version.clone());
    }
}
