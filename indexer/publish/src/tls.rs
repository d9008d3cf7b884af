//! Certificates of a connection: read anew for each, checked as far as can be without the broker, so that what is wrong is said
//! with the name of the file. Shows no key.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use lapin::tcp::{RustlsConnector, RustlsConnectorConfig};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, CertificateError, InconsistentKeys, RootCertStore};

use crate::settings::SettingsError;

const AUTHORITY: &str = "the authority's certificate";
const CERTIFICATE: &str = "the client's certificate";
const KEY: &str = "the client's key";

/// Certificates in PEM, beside those that the system trusts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Of the authority that signed the broker's.
    pub ca: Option<PathBuf>,
    /// Our own, and its key, for brokers that ask who we are.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// What the files of a [`Tls`] hold.
pub(crate) struct Certificates {
    authorities: Vec<CertificateDer<'static>>,
    client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// Which of them is not what it should be, and why.
    pub(crate) fn read(&self) -> Result<Certificates, SettingsError> {
        let authorities = match &self.ca {
            Some(path) => authorities(path).map_err(|why| wrong(AUTHORITY, path, why))?,
            None => Vec::new(),
        };
        let client = match &self.client {
            Some((certificate, key)) => Some(client(certificate, key)?),
            None => None,
        };
        Ok(Certificates { authorities, client })
    }
}

impl Certificates {
    /// What makes connections with them.
    ///
    /// # Errors
    /// When the system trusts nobody and no authority was named, or the library does not take them.
    pub(crate) fn connector(self) -> io::Result<RustlsConnector> {
        let mut config = match RustlsConnectorConfig::new_with_native_certs() {
            Ok(config) => config,
            // A small container has none; the one that was named is enough.
            Err(_) if !self.authorities.is_empty() => RustlsConnectorConfig::default(),
            Err(why) => return Err(why),
        };
        config.add_parsable_certificates(self.authorities);
        match self.client {
            Some((certificates, key)) => config.connector_with_single_cert(certificates, key),
            None => config.connector_with_no_client_auth(),
        }
    }
}

/// What may help where TLS fails.
pub(crate) fn hint(error: &rustls::Error) -> Option<&'static str> {
    match error {
        // A bad signature is that of another authority of the same name.
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => Some(
            "ca names the certificate of the authority that signed the broker's, if the system does not trust it",
        ),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => Some("the broker's certificate is for another name than that of the host in url"),
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::HandshakeFailure
            | AlertDescription::NoCertificate,
        ) => Some("the broker asks who we are: client_certificate and client_key"),
        rustls::Error::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::UnsupportedCertificate,
        ) => Some("the broker does not take our client_certificate"),
        _ => None,
    }
}

fn authorities(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let found = certificates(&std::fs::read(path)?)?;
    // Those that cannot be parsed would be passed over in silence, and the broker's refused for no reason that anybody sees.
    let mut store = RootCertStore::empty();
    for one in &found {
        store.add(one.clone()).map_err(|why| invalid(format!("one of its certificates is none: {why}")))?;
    }
    Ok(found)
}

fn client(
    certificate: &Path,
    key: &Path,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), SettingsError> {
    let chain = std::fs::read(certificate)
        .and_then(|text| certificates(&text))
        .map_err(|why| wrong(CERTIFICATE, certificate, why))?;
    let der = std::fs::read(key).and_then(|text| private_key(&text)).map_err(|why| wrong(KEY, key, why))?;
    let signs = rustls::crypto::ring::sign::any_supported_type(&der)
        .map_err(|why| wrong(KEY, key, invalid(why.to_string())))?;
    match CertifiedKey::new(chain.clone(), signs).keys_match() {
        // Not told for some kinds of keys.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok((chain, der)),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(wrong(KEY, key, invalid(format!("is not that of the certificate {}", certificate.display()))))
        }
        Err(why) => Err(wrong(CERTIFICATE, certificate, invalid(why.to_string()))),
    }
}

fn certificates(text: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(invalid("holds no certificate in PEM".to_owned())),
        Ok(found) => Ok(found),
        Err(why) => Err(invalid(format!("is no PEM: {why}"))),
    }
}

/// PKCS 8, PKCS 1 (`RSA PRIVATE KEY`) or SEC 1 (`EC PRIVATE KEY`).
fn private_key(text: &[u8]) -> io::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(text).map_err(|why| {
        let encrypted = [&b"BEGIN ENCRYPTED"[..], b"Proc-Type: 4,ENCRYPTED"];
        if encrypted.iter().any(|mark| text.windows(mark.len()).any(|part| part == *mark)) {
            return invalid(
                "is encrypted, and there is nobody to ask for its passphrase; write it anew with openssl pkey -in … -out …"
                    .to_owned(),
            );
        }
        match why {
            rustls::pki_types::pem::Error::NoItemsFound => {
                invalid("holds no private key in PEM".to_owned())
            }
            why => invalid(format!("is no PEM: {why}")),
        }
    })
}

fn invalid(why: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

fn wrong(what: &'static str, path: &Path, why: io::Error) -> SettingsError {
    SettingsError::File { what, path: path.to_owned(), why }
}
