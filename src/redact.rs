//! stub
/// stub
pub fn clean(text: &str, max: usize) -> String {
    text.chars().take(max).collect()
}
