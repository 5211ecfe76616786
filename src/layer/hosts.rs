//! Which hosts may be contacted for files, and which addresses are on the public internet.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::error::{ApiError, ApiErrorKind, Reached};

/// Where Layer serves finished files.
pub(super) const MEDIA_HOST: &str = "media.app.layer.ai";
/// Where Layer takes files. Anyone can own a place there, so nothing is fetched from it.
pub(super) const STORAGE_HOST: &str = "storage.googleapis.com";

/// A host that the user added to the list, with a port or for every port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHost {
    host: Host,
    port: Option<u16>,
}

/// The text is not `host` or `host:port`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a host: write `host` or `host:port`, without `https://` and without a path")]
pub struct NotAHost(String);

impl FromStr for AllowedHost {
    type Err = NotAHost;

    fn from_str(text: &str) -> Result<Self, NotAHost> {
        let refused = || NotAHost(crate::redact::clean_line(text, 100));
        if text.is_empty() || text.contains(['/', '@', '?', '#', '\\', ' ']) {
            return Err(refused());
        }
        let url = Url::parse(&format!("https://{text}/")).map_err(|_| refused())?;
        let host = url.host().map(|host| host.to_owned()).ok_or_else(refused)?;
        let bracketed_end = text.rfind(']').map_or(0, |end| end + 1);
        let has_port = text.bytes().skip(bracketed_end).any(|byte| byte == b':');
        Ok(Self { host, port: has_port.then(|| url.port_or_known_default()).flatten() })
    }
}

/// The list of hosts from which files are fetched, or to which they are sent.
#[derive(Clone, Debug)]
pub(super) struct HostPolicy {
    /// The one host that needs no word of the user.
    built_in: Option<&'static str>,
    /// What the user named, and the API's own host.
    trusted: Arc<[AllowedHost]>,
}

impl HostPolicy {
    pub(super) fn new(
        built_in: &'static str,
        api: &Url,
        mut trusted: Vec<AllowedHost>,
    ) -> Result<Self, ApiError> {
        let host = api.host().map(|host| host.to_owned()).ok_or_else(|| {
            ApiError::new(
                ApiErrorKind::Configuration,
                Reached::NotSent,
                "the API's base URL has no host",
            )
        })?;
        trusted.push(AllowedHost { host, port: api.port_or_known_default() });
        Ok(Self { built_in: Some(built_in), trusted: trusted.into() })
    }

    /// The hosts that the user named, and no other: not even Layer's.
    pub(super) fn of_user(named: &[AllowedHost]) -> Self {
        Self { built_in: None, trusted: named.into() }
    }

    /// Refuses every address that is not https on a host of the list.
    pub(super) fn check(&self, url: &Url) -> Result<(), ApiError> {
        let refused = |kind, why| Err(ApiError::new(kind, Reached::NotSent, why));
        let blocked = |why: String| refused(ApiErrorKind::BlockedHost, why);
        let unusable = |why: String| refused(ApiErrorKind::BadAddress, why);
        if url.scheme() != "https" {
            let scheme = crate::redact::clean_line(url.scheme(), 20);
            return unusable(format!("the file's address begins with `{scheme}:`, not `https:`"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return unusable("the file's address carries a user name or password".to_owned());
        }
        let Some(host) = url.host() else {
            return unusable("the file's address has no host".to_owned());
        };
        if self.is_trusted(&host, url.port_or_known_default()) {
            return Ok(());
        }
        let address = match host {
            Host::Ipv4(address) => Some(IpAddr::V4(address)),
            Host::Ipv6(address) => Some(IpAddr::V6(address)),
            Host::Domain(_) => None,
        };
        let name = crate::redact::clean_line(&host.to_string(), 100);
        if address.is_some_and(|address| !is_public(address)) {
            return blocked(format!("the file's address `{name}` is not on the public internet"));
        }
        let is_built_in = matches!(host, Host::Domain(domain) if self.is_built_in(domain))
            && url.port_or_known_default() == Some(443);
        if is_built_in {
            return Ok(());
        }
        blocked(format!("the file lies on `{name}`, which is not on the list of allowed hosts"))
    }

    /// True for the API's own host and for what the user added: private addresses are theirs to use.
    fn is_trusted(&self, host: &Host<&str>, port: Option<u16>) -> bool {
        self.trusted.iter().any(|allowed| {
            allowed.host == host.to_owned() && (allowed.port.is_none() || allowed.port == port)
        })
    }

    /// A host that serves without the user having named it.
    fn is_built_in(&self, name: &str) -> bool {
        self.built_in.is_some_and(|built_in| name.eq_ignore_ascii_case(built_in))
    }

    fn trusts_name(&self, name: &str) -> bool {
        self.trusted
            .iter()
            .any(|allowed| matches!(&allowed.host, Host::Domain(domain) if domain == name))
    }
}

/// A resolver that hands out only public addresses for a name of Layer's, so that one that is made
/// to point into the local network leads nowhere. The addresses that were judged are the ones that
/// are connected to: no second look-up gives a name the time to change (DNS rebinding).
///
/// Any other name that is looked up here is the user's: of a host that they added (the rest was
/// refused by [`HostPolicy::check`]), or of their proxy, which lies in their own network as a rule.
#[derive(Clone)]
pub(super) struct PublicOnly {
    hosts: HostPolicy,
    look_up: LookUp,
}

type Found = io::Result<Vec<SocketAddr>>;
type LookUp = Arc<dyn Fn(String) -> BoxFuture<'static, Found> + Send + Sync>;

impl PublicOnly {
    /// Names are looked up by the system.
    pub(super) fn by_system(hosts: HostPolicy) -> Self {
        let look_up = |name: String| {
            async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) }.boxed()
        };
        Self { hosts, look_up: Arc::new(look_up) }
    }
}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let any_address =
            !self.hosts.is_built_in(name.as_str()) || self.hosts.trusts_name(name.as_str());
        let found = (self.look_up)(name.as_str().to_owned());
        Box::pin(async move {
            let found = found.await?;
            if !any_address && !found.iter().all(|address| is_public(address.ip())) {
                return Err("the host's name leads to an address that is not public".into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// True for an address of the public internet (IANA special-purpose registries, RFC 6890).
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 168, _)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let [g_high, g_low] = g.to_be_bytes();
    let [h_high, h_low] = h.to_be_bytes();
    let tail = Ipv4Addr::new(g_high, g_low, h_high, h_low);
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0xffff) | (0x64, 0xff9b, 0, 0, 0, 0) => is_public_v4(tail),
        (0, 0, 0, 0, 0, 0) => false,
        (0x2002, high, low, ..) => {
            let ([one, two], [three, four]) = (high.to_be_bytes(), low.to_be_bytes());
            is_public_v4(Ipv4Addr::new(one, two, three, four))
        }
        (0x2001, 0 | 0x0db8, ..) => false,
        (0xfc00..=0xfdff | 0xfe80..=0xfeff | 0xff00..=0xffff, ..) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn policy(extra: &[&str]) -> HostPolicy {
        let extra = extra.iter().map(|host| host.parse().unwrap()).collect();
        HostPolicy::new(MEDIA_HOST, &Url::parse("https://api.app.layer.ai").unwrap(), extra)
            .unwrap()
    }

    #[test]
    fn files_are_fetched_from_and_sent_to_hosts_of_their_own() {
        let api = Url::parse("https://api.app.layer.ai").unwrap();
        let hosts = [MEDIA_HOST, STORAGE_HOST];
        for built_in in hosts {
            let policy = HostPolicy::new(built_in, &api, Vec::new()).unwrap();
            for host in hosts {
                let url = Url::parse(&format!("https://{host}/x")).unwrap();
                assert_eq!(policy.check(&url).is_ok(), host == built_in, "{built_in} {host}");
            }
            assert!(
                policy.check(&Url::parse("https://x.storage.googleapis.com/").unwrap()).is_err()
            );
        }
    }

    #[test]
    fn only_https_on_listed_hosts_passes() {
        let policy = policy(&["cdn.example.com", "127.0.0.1:9443", "[::1]:9443"]);
        for url in [
            "https://media.app.layer.ai/workspaces/w/files/f/a.png",
            "https://api.app.layer.ai/x",
            "https://MEDIA.app.layer.ai/x",
            "https://cdn.example.com/x",
            "https://cdn.example.com:8443/x",
            "https://127.0.0.1:9443/x",
            "https://[::1]:9443/x",
        ] {
            assert!(policy.check(&Url::parse(url).unwrap()).is_ok(), "{url}");
        }
        for url in [
            "http://media.app.layer.ai/x",
            "file:///etc/passwd",
            "ftp://media.app.layer.ai/x",
            "data:image/png;base64,AAAA",
            "https://user:pass@media.app.layer.ai/x",
            "https://media.app.layer.ai:8443/x",
            "https://media.app.layer.ai.evil.example/x",
            "https://evil.example/media.app.layer.ai",
            "https://media.app.layer.ai./x",
            "https://127.0.0.1/x",
            "https://127.0.0.1:9444/x",
            "https://2130706433/x",
            "https://0x7f.1/x",
            "https://10.0.0.1/x",
            "https://169.254.169.254/latest/meta-data",
            "https://[::1]/x",
            "https://[::ffff:127.0.0.1]/x",
            "https://8.8.8.8/x",
            "https://storage.googleapis.com/bucket/x",
            "https://localhost/x",
        ] {
            let error = policy.check(&Url::parse(url).unwrap()).unwrap_err();
            let kinds = [ApiErrorKind::BlockedHost, ApiErrorKind::BadAddress];
            assert!(kinds.contains(&error.kind), "{url}");
        }
    }

    #[test]
    fn references_come_from_the_hosts_that_the_user_named_alone() {
        let named = ["cdn.example.com".parse().unwrap(), "10.0.0.7:8443".parse().unwrap()];
        let policy = HostPolicy::of_user(&named);
        for (url, allowed) in [
            ("https://cdn.example.com/a.png?sig=1", true),
            ("https://10.0.0.7:8443/a.png", true),
            ("https://10.0.0.7/a.png", false),
            ("https://sub.cdn.example.com/a.png", false),
            ("https://me@cdn.example.com/a.png", false),
            ("http://cdn.example.com/a.png", false),
            ("https://media.app.layer.ai/a.png", false),
            ("https://api.app.layer.ai/a.png", false),
            ("https://169.254.169.254/latest", false),
        ] {
            assert_eq!(policy.check(&Url::parse(url).unwrap()).is_ok(), allowed, "{url}");
        }
        let nobody = HostPolicy::of_user(&[]);
        assert!(nobody.check(&Url::parse("https://cdn.example.com/").unwrap()).is_err());
    }

    #[test]
    fn addresses_are_sorted_into_public_and_not() {
        for address in [
            "1.1.1.1",
            "172.15.0.1",
            "172.32.0.1",
            "100.63.0.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::7f00:1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001::1",
            "2001:db8::1",
            "fc00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    /// A resolver for which names change between two look-ups, and how often it was asked.
    fn changing(answers: &'static [&'static [&'static str]]) -> (PublicOnly, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let look_up = move |_| {
            let at = counter.fetch_add(1, Ordering::Relaxed);
            let addresses = answers.get(at).copied().unwrap_or_default();
            let found = addresses.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 0));
            std::future::ready(Ok(found.collect())).boxed()
        };
        let hosts = policy(&["cdn.example.com"]);
        (PublicOnly { hosts, look_up: Arc::new(look_up) }, asked)
    }

    #[tokio::test]
    async fn a_name_that_leads_into_the_local_network_leads_nowhere() {
        let (resolver, asked) = changing(&[
            &["1.1.1.1"],
            &["127.0.0.1"],
            &["1.1.1.1", "169.254.169.254"],
            &["::ffff:10.0.0.1"],
            &["10.0.0.1"],
            &["10.0.0.2"],
        ]);
        let resolve = |name: &str| resolver.resolve(name.parse().unwrap());
        let first: Vec<_> = resolve("media.app.layer.ai").await.unwrap().collect();
        assert_eq!(first, ["1.1.1.1:0".parse().unwrap()]);
        // It was public a moment ago; what counts is the answer that is connected to.
        for _ in 0..3 {
            let refused = resolve("media.app.layer.ai").await;
            assert!(refused.err().unwrap().to_string().contains("not public"));
        }
        // The user may name a host of their own network.
        assert_eq!(resolve("cdn.example.com").await.unwrap().count(), 1);
        // And their proxy is no host of the list.
        assert_eq!(resolve("proxy.example.com").await.unwrap().count(), 1);
        assert_eq!(asked.load(Ordering::Relaxed), 6);
    }

    #[tokio::test]
    async fn a_file_is_fetched_from_the_address_that_was_judged() {
        // A server that the name leads to; the second answer would lead elsewhere.
        let (resolver, asked) = changing(&[&["127.0.0.1"], &["127.0.0.2"]]);
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        let client = crate::layer::Connectivity::default().client().unwrap();
        let client = client.dns_resolver(Arc::new(resolver)).build().unwrap();
        let request = client.get(format!("https://cdn.example.com:{port}/x")).send();
        let arrives = async {
            let (stream, _) = server.accept().await.unwrap();
            drop(stream);
        };
        let (answer, ()) = tokio::join!(request, arrives);
        assert!(answer.is_err());
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn hosts_of_the_settings_are_parsed() {
        for text in ["", "https://a", "a/b", "a b", "user@a", "a:99999", "a?b"] {
            assert!(text.parse::<AllowedHost>().is_err(), "{text}");
        }
        assert_eq!("a.example:443".parse::<AllowedHost>().unwrap().port, Some(443));
        assert_eq!("a.example".parse::<AllowedHost>().unwrap().port, None);
    }
}
