//! stub
/// stub
pub struct ApiToken(String);
impl ApiToken {
    /// stub
    pub fn expose(&self) -> &str {
        &self.0
    }
}
