//! A web server over TLS with certificates of its own making, that serves what a test puts on it and remembers what was
//! asked. On a thread of its own; it ends with the test.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly; clippy knows only test functions as tests")]

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// What is at a path.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Page {
    pub(crate) fn new(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.into() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

#[derive(Debug, Default)]
struct Pages {
    pages: BTreeMap<String, Page>,
    /// Path, the validator that came with the request, and the status of the answer.
    asked: Vec<(String, Option<String>, u16)>,
}

/// See above.
pub(crate) struct Web {
    pub(crate) address: SocketAddr,
    /// The certificate that signs the server's, in PEM.
    pub(crate) ca: String,
    pages: Arc<Mutex<Pages>>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Web {
    pub(crate) fn start() -> Self {
        let (config, ca) = certificates();
        let pages = Arc::new(Mutex::new(Pages::default()));
        let (started, starts) = mpsc::channel();
        let (end, mut ends) = oneshot::channel();
        let of_thread = Arc::clone(&pages);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback is there");
                started.send(listener.local_addr().expect("it is bound")).expect("the test waits");
                let acceptor = TlsAcceptor::from(Arc::new(config));
                loop {
                    let stream = tokio::select! {
                        accepted = listener.accept() => accepted.expect("a connection").0,
                        _ = &mut ends => return,
                    };
                    let (acceptor, pages) = (acceptor.clone(), Arc::clone(&of_thread));
                    tokio::spawn(async move {
                        // A client that does not trust us says so.
                        let Ok(stream) = acceptor.accept(stream).await else { return };
                        let service = service_fn(|request| std::future::ready(answer(&request, &pages)));
                        let serving =
                            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                        let _ = serving.await;
                    });
                }
            });
        });
        let address = starts.recv().expect("it starts");
        Self { address, ca, pages, end: Some(end), thread: Some(thread) }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    pub(crate) fn put(&self, path: &str, page: Page) {
        self.pages.lock().unwrap().pages.insert(path.to_owned(), page);
    }

    /// What was asked since this was called last.
    pub(crate) fn take_asked(&self) -> Vec<(String, Option<String>, u16)> {
        std::mem::take(&mut self.pages.lock().unwrap().asked)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(request: &Request<Incoming>, pages: &Mutex<Pages>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut pages = pages.lock().unwrap();
    let path = request.uri().path().to_owned();
    let validator = request.headers().get("if-none-match").map(|value| value.to_str().unwrap().to_owned());
    let page = pages.pages.get(&path).cloned().unwrap_or(Page { status: 404, ..Page::new("") });
    let etag = page.headers.iter().find(|(name, _)| *name == "etag").map(|(_, value)| value.clone());
    let is_known = etag.is_some() && etag == validator;
    let status = if is_known { 304 } else { page.status };
    pages.asked.push((path, validator, status));
    let mut response = Response::builder().status(status);
    for (name, value) in &page.headers {
        response = response.header(*name, value);
    }
    let body = if is_known { Bytes::new() } else { Bytes::from(page.body) };
    Ok(response.body(Full::new(body)).unwrap())
}

fn certificates() -> (ServerConfig, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &ca).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (config, ca.pem())
}
