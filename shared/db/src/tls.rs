//! TLS to a MySQL server: `ssl-mode` and `ssl-ca`, as MySQL's own clients name them, and the driver's options for them.

use std::fmt;
use std::path::{Path, PathBuf};

use mysql_async::{Opts, SslOpts};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, pem::PemObject};

/// The largest file of authorities that is read: a whole system's bundle has about 250 KiB.
const CA_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The name that a server has to prove where its name does not matter. Up to its version 0.37.1 the driver finds a wrong
/// name by looking for this word in the error's text, which quotes the expected name; later versions ask for the error's
/// kind. Either way only the name is passed over: the chain of certificates was checked before.
/// <https://github.com/blackbeam/mysql_async/issues/404>
const ANY_NAME: &str = "NotValidForName.invalid";

/// How much of a server is proven. The names are those of MySQL's clients, in any letter case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::Display, strum::EnumString)]
#[strum(
    serialize_all = "snake_case",
    ascii_case_insensitive,
    parse_err_ty = InvalidTlsMode,
    parse_err_fn = invalid_mode
)]
pub enum TlsMode {
    /// No TLS.
    #[default]
    Disabled,
    /// Encrypted, to whatever answers.
    Required,
    /// Encrypted, to a server with a certificate of the authority of `ssl-ca`.
    VerifyCa,
    /// As `VerifyCa`, and the certificate is for the host name in the address.
    VerifyIdentity,
}

/// The text is no [`TlsMode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it must be disabled, required, verify_ca or verify_identity")]
pub struct InvalidTlsMode;

fn invalid_mode(_: &str) -> InvalidTlsMode {
    InvalidTlsMode
}

impl TlsMode {
    fn verifies(self) -> bool {
        matches!(self, Self::VerifyCa | Self::VerifyIdentity)
    }
}

/// The settings, from one source or from two that agree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// `ssl-mode`, if it is given.
    pub mode: Option<TlsMode>,
    /// `ssl-ca`, if it is given: a file of certificates, PEM or one of DER.
    pub ca: Option<PathBuf>,
}

/// Why TLS cannot be as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// Two modes.
    #[error("ssl-mode of DATABASE_URL and DB_SSL_MODE differ")]
    TwoModes,
    /// Two files.
    #[error("ssl-ca of DATABASE_URL and DB_SSL_CA differ")]
    TwoAuthorities,
    /// Verifying against nothing.
    #[error("ssl-mode={0} needs ssl-ca (DB_SSL_CA), the file of the authority's certificate")]
    NoAuthority(TlsMode),
    /// An authority for a session in plain text.
    #[error(
        "ssl-ca (DB_SSL_CA) is given, but without ssl-mode (DB_SSL_MODE) verify_ca or verify_identity nothing is verified"
    )]
    Unused,
    /// The file cannot be used.
    #[error("ssl-ca (DB_SSL_CA) {path}: {problem}", path = path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

impl Tls {
    /// Both together; what both name has to be the same.
    ///
    /// # Errors
    /// When they differ, or do not make sense together.
    pub fn and(self, other: Self) -> Result<Self, TlsError> {
        let joined = Self {
            mode: agreed(self.mode, other.mode, TlsError::TwoModes)?,
            ca: agreed(self.ca, other.ca, TlsError::TwoAuthorities)?,
        };
        joined.check()?;
        Ok(joined)
    }

    /// The mode, whether given or not.
    pub(super) fn mode(&self) -> TlsMode {
        self.mode.unwrap_or_default()
    }

    fn check(&self) -> Result<(), TlsError> {
        match (self.mode(), &self.ca) {
            (TlsMode::Disabled, Some(_)) => Err(TlsError::Unused),
            (mode, None) if mode.verifies() => Err(TlsError::NoAuthority(mode)),
            _ => Ok(()),
        }
    }

    /// The driver's TLS options for this server.
    ///
    /// # Errors
    /// When the file of the authority cannot be read, or holds no certificate.
    pub(super) fn options(&self, server: &Opts) -> Result<Option<SslOpts>, TlsError> {
        self.check()?;
        let mode = self.mode();
        if mode == TlsMode::Disabled {
            return Ok(None);
        }
        // An IPv6 address stands in brackets in a URL, and without them in a certificate.
        let name = server.ip_or_hostname().trim_matches(['[', ']']).to_owned();
        let options = SslOpts::default().with_disable_built_in_roots(true);
        let authority = self.ca.as_deref().map(read_authority).transpose()?;
        Ok(Some(match (mode, authority) {
            (TlsMode::VerifyCa, Some(ca)) => options
                .with_root_certs(vec![ca.into()])
                .with_danger_skip_domain_validation(true)
                .with_danger_tls_hostname_override(Some(ANY_NAME)),
            (TlsMode::VerifyIdentity, Some(ca)) => options
                .with_root_certs(vec![ca.into()])
                .with_danger_tls_hostname_override(Some(name)),
            _ => {
                if self.ca.is_some() {
                    tracing::warn!(
                        "ssl-mode=required verifies nothing: ssl-ca has no effect without verify_ca or verify_identity"
                    );
                }
                // The driver cannot build its verifier over no roots at all.
                SslOpts::default()
                    .with_danger_accept_invalid_certs(true)
                    .with_danger_tls_hostname_override(Some(ANY_NAME))
            }
        }))
    }
}

/// The value that either names.
fn agreed<T: PartialEq>(one: Option<T>, other: Option<T>, error: TlsError) -> Result<Option<T>, TlsError> {
    match (one, other) {
        (Some(one), Some(other)) if one != other => Err(error),
        (one, other) => Ok(one.or(other)),
    }
}

fn read_authority(path: &Path) -> Result<Vec<u8>, TlsError> {
    let refused = |problem: String| TlsError::Authority {
        path: path.to_owned(),
        problem,
    };
    let found = std::fs::metadata(path).map_err(|error| refused(error.to_string()))?;
    if !found.is_file() || found.len() > CA_BYTES_MAX {
        return Err(refused(format!("it is no file of at most {CA_BYTES_MAX} bytes")));
    }
    let bytes = std::fs::read(path).map_err(|error| refused(error.to_string()))?;
    let unusable = |problem: &dyn fmt::Display| refused(format!("it holds no usable certificate: {problem}"));
    let pem = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    let certificates = match pem {
        Ok(found) if found.is_empty() => vec![CertificateDer::from(bytes.clone())],
        Ok(found) => found,
        Err(error) => return Err(unusable(&error)),
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|error| unusable(&error))?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(mode: Option<TlsMode>, ca: Option<&str>) -> Tls {
        Tls {
            mode,
            ca: ca.map(PathBuf::from),
        }
    }

    #[test]
    fn case26_a_mode_is_read_in_any_letter_case_and_any_other_is_refused() {
        for (text, mode) in [
            ("disabled", Ok(TlsMode::Disabled)),
            ("REQUIRED", Ok(TlsMode::Required)),
            ("Verify_CA", Ok(TlsMode::VerifyCa)),
            ("verify_identity", Ok(TlsMode::VerifyIdentity)),
            ("preferred", Err(InvalidTlsMode)),
            ("verify-ca", Err(InvalidTlsMode)),
            ("true", Err(InvalidTlsMode)),
            ("", Err(InvalidTlsMode)),
        ] {
            assert_eq!(text.parse::<TlsMode>(), mode, "{text}");
        }
    }

    #[test]
    fn case26_two_places_agree_or_are_refused() {
        use TlsMode::{Disabled, Required, VerifyCa};
        let none = Tls::default;
        let whole = asked(Some(VerifyCa), Some("ca.pem"));
        assert_eq!(none().and(none()), Ok(none()));
        assert_eq!(whole.clone().and(none()), Ok(whole.clone()));
        assert_eq!(
            asked(Some(VerifyCa), None).and(asked(None, Some("ca.pem"))),
            Ok(whole.clone())
        );
        assert_eq!(whole.clone().and(whole.clone()), Ok(whole.clone()));
        for (one, other, why) in [
            (whole.clone(), asked(Some(Required), None), TlsError::TwoModes),
            (whole, asked(None, Some("other.pem")), TlsError::TwoAuthorities),
            (
                asked(Some(VerifyCa), None),
                none(),
                TlsError::NoAuthority(VerifyCa),
            ),
            (none(), asked(None, Some("ca.pem")), TlsError::Unused),
            (asked(Some(Disabled), Some("ca.pem")), none(), TlsError::Unused),
        ] {
            assert_eq!(one.and(other), Err(why));
        }
    }
}
