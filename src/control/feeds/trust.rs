//! Which certificates the server of a feed is believed by, and why one was not: rustls tells its reasons in English alone.

use crate::language::{Text, text};
use crate::telemetry::query_log::utc;
use std::io;
use std::sync::Arc;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error, InvalidMessage, PeerIncompatible, RootCertStore};

/// Names of a certificate that are told when it is for others: there may be hundreds.
const NAMES_TOLD: usize = 3;

/// The system's certificates and those of the feed.
pub(super) fn config(ca: Option<&[u8]>) -> Result<ClientConfig, Text> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in ca.into_iter().flat_map(CertificateDer::pem_slice_iter) {
        let certificate = certificate.map_err(|error| {
            text!("a certificate of `ca` cannot be read: {error}", error = Text::of_library(&error))
        })?;
        roots.add(certificate).map_err(|error| {
            text!("a certificate of `ca` cannot be used: {error}", error = Text::of_library(&error))
        })?;
    }
    if roots.is_empty() {
        return Err(text!("this system has no certificates: install ca-certificates, or name some with `ca`"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().map_err(|error| Text::of_library(&error))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Why there is no connection over TLS.
pub(super) fn refusal(error: &io::Error) -> Text {
    match error.get_ref().and_then(|cause| cause.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(why)) => of_certificate(why),
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion)) => {
            text!("what the other side says is no TLS")
        }
        Some(Error::InvalidMessage(why)) => {
            text!("a message of the other side is broken: {why}", why = format!("{why:?}"))
        }
        Some(Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13 | PeerIncompatible::NoCipherSuitesInCommon,
        )) => text!("the other side has no version or cipher of TLS 1.2 or 1.3 in common"),
        Some(Error::PeerIncompatible(why)) => {
            text!("the other side does not do what TLS needs here: {why}", why = format!("{why:?}"))
        }
        Some(Error::AlertReceived(alert)) => text!("the other side refuses: {alert}", alert = format!("{alert:?}")),
        _ => Text::of_io(error),
    }
}

fn of_certificate(why: &CertificateError) -> Text {
    let date = |time: &UnixTime| utc(time.as_secs().saturating_mul(1000));
    match why {
        CertificateError::Expired => text!("its certificate is not valid any more"),
        CertificateError::ExpiredContext { not_after, .. } => {
            text!("its certificate is valid no longer than {time}", time = date(not_after))
        }
        CertificateError::NotValidYet => text!("its certificate is not valid yet"),
        CertificateError::NotValidYetContext { not_before, .. } => {
            text!("its certificate is not valid before {time}", time = date(not_before))
        }
        CertificateError::UnknownIssuer => {
            text!("its certificate is of no authority that is trusted here; `ca` of the feed can name one")
        }
        CertificateError::NotValidForName => text!("its certificate is for another name"),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let name = expected.to_str();
            let names = Text::joined(", ", presented.iter().take(NAMES_TOLD).map(|name| Text::verbatim(bare(name))));
            match presented.len().checked_sub(NAMES_TOLD) {
                _ if presented.is_empty() => text!("its certificate is for no name, and so not for {name}", name),
                None | Some(0) => text!("its certificate is for {names} and not for {name}", names, name),
                Some(more) => {
                    text!("its certificate is for {names} and {more} more names and not for {name}", names, more, name)
                }
            }
        }
        CertificateError::Revoked => text!("its certificate was revoked"),
        CertificateError::BadEncoding => text!("its certificate cannot be read"),
        CertificateError::BadSignature => text!("its certificate is not signed by the authority that it names"),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            text!("its certificate is not one of a server")
        }
        other => Text::of_library(other),
    }
}

/// A name that a certificate is for, which rustls tells as `DnsName("x")`.
fn bare(name: &str) -> &str {
    name.strip_prefix("DnsName(\"").and_then(|name| name.strip_suffix("\")")).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Lang;
    use std::time::Duration;
    use tokio_rustls::rustls::pki_types::ServerName;

    fn told(error: Error) -> [String; 2] {
        let told = refusal(&io::Error::new(io::ErrorKind::InvalidData, error));
        assert_ne!(told.kind(), "{words}", "{}", told.english());
        [Lang::En, Lang::Zh].map(|lang| told.to(lang))
    }

    #[test]
    fn why_a_server_is_not_believed_is_told_in_both_languages() {
        let time = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let expected = ServerName::try_from("lists.example").unwrap();
        for (why, en, zh) in [
            (
                CertificateError::ExpiredContext { time: time(2_000_000_000), not_after: time(1_795_447_212) },
                "its certificate is valid no longer than 2026-11-23T15:20:12.000Z",
                "它的证书有效期只到 2026-11-23T15:20:12.000Z",
            ),
            (
                CertificateError::UnknownIssuer,
                "its certificate is of no authority that is trusted here; `ca` of the feed can name one",
                "签发它的证书的机构在这里不受信任；可以用订阅源的 `ca` 指定",
            ),
            (
                CertificateError::NotValidForNameContext {
                    expected: expected.clone(),
                    presented: vec!["DnsName(\"a.example\")".into(), "DnsName(\"b.example\")".into()],
                },
                "its certificate is for a.example, b.example and not for lists.example",
                "它的证书用于 a.example，b.example，而不用于 lists.example",
            ),
            (
                CertificateError::NotValidForNameContext {
                    expected: expected.clone(),
                    presented: (0..200).map(|n| format!("DnsName(\"{n}.example\")")).collect(),
                },
                "its certificate is for 0.example, 1.example, 2.example and 197 more names and not for lists.example",
                "它的证书用于 0.example，1.example，2.example 以及另外 197 个名称，而不用于 lists.example",
            ),
            (
                CertificateError::NotValidForNameContext { expected, presented: vec![] },
                "its certificate is for no name, and so not for lists.example",
                "它的证书不含任何名称，因此不能用于 lists.example",
            ),
        ] {
            assert_eq!(told(Error::InvalidCertificate(why)), [en, zh]);
        }
        assert_eq!(told(Error::InvalidMessage(InvalidMessage::InvalidContentType))[1], "对方的应答不是 TLS");
        assert!(told(Error::InvalidMessage(InvalidMessage::MessageTooShort))[1].ends_with("MessageTooShort"));
        let needs = PeerIncompatible::ExtendedMasterSecretExtensionRequired;
        assert!(told(Error::PeerIncompatible(needs))[0].ends_with("ExtendedMasterSecretExtensionRequired"));
        assert!(
            told(Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13))[1].contains("没有共同的")
        );
        assert_eq!(refusal(&io::Error::other("the moon is wrong")).kind(), "{words}", "which `told` looks for");
        let reset = refusal(&io::ErrorKind::ConnectionReset.into());
        assert_eq!(reset, Text::of_io(&io::ErrorKind::ConnectionReset.into()), "and what the system says as ever");
    }
}
