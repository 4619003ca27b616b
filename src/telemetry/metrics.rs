//! The HTTP side of metrics: `GET /metrics` and `GET /healthz`, one request a connection, so many connections at a time,
//! and a client that does not finish its request is cut off.

use super::exposition::CONTENT_TYPE;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE as CONTENT_TYPE_HEADER, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Connections at one time; who comes beyond waits in the listener's queue.
const CONNECTIONS_MAX: usize = 16;

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// Until a request's head must be here.
    head: Duration,
    /// Until a connection must be done: request, answer, end.
    connection: Duration,
}

const PATIENCE: Patience = Patience { head: Duration::from_secs(5), connection: Duration::from_secs(15) };

/// Bytes of a request's head.
const HEAD_MAX: usize = 8 * 1024;

/// After a failed accept (no file handles left), so that the loop does not spin.
const PAUSE: Duration = Duration::from_millis(100);

/// Makes the text of `/metrics`; called once for each request.
pub type Render = Arc<dyn Fn() -> String + Send + Sync>;

/// Serves until it is dropped. To be run on the control side's runtime; its connections end with that runtime, and each
/// by itself within 15 seconds.
pub async fn serve(listener: TcpListener, render: Render) -> Infallible {
    serve_with(listener, render, PATIENCE).await
}

async fn serve_with(listener: TcpListener, render: Render, patience: Patience) -> Infallible {
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // the semaphore is never closed
        let seat = Arc::clone(&seats).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let render = Arc::clone(&render);
                tokio::spawn(async move {
                    serve_one(stream, render, patience).await;
                    drop(seat);
                });
            }
            Err(fault) => {
                tracing::warn!(%fault, "metrics cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn serve_one(stream: TcpStream, render: Render, patience: Patience) {
    let service = service_fn(|request| std::future::ready(Ok::<_, Infallible>(answer(&request, &render))));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.head)
        .max_buf_size(HEAD_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(patience.connection, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(fault)) => tracing::debug!(%fault, "a metrics connection ended early"),
        Err(_) => tracing::debug!("a metrics connection took too long"),
    }
}

fn answer(request: &Request<Incoming>, render: &Render) -> Response<Full<Bytes>> {
    let found = match request.uri().path() {
        "/metrics" => Some(CONTENT_TYPE),
        "/healthz" => Some("text/plain; charset=utf-8"),
        _ => None,
    };
    let Some(content_type) = found else {
        return plain(StatusCode::NOT_FOUND, "not found; there are /metrics and /healthz\n".to_owned());
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let body = if request.uri().path() == "/metrics" { render() } else { "ok\n".to_owned() };
    let mut response = plain(StatusCode::OK, body);
    response.headers_mut().insert(CONTENT_TYPE_HEADER, HeaderValue::from_static(content_type));
    response
}

fn plain(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE_HEADER, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use super::super::exposition;
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Sends each request over a connection of its own and returns what came back until the server closed it.
    fn ask(requests: &[&str]) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let render: Render = Arc::new(|| exposition::write(&exposition::tests::snapshot()));
            let server = tokio::spawn(serve(listener, render));
            let mut answers = Vec::new();
            for request in requests {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(request.as_bytes()).await.unwrap();
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).await.unwrap();
                answers.push(String::from_utf8(answer).unwrap());
            }
            server.abort();
            answers
        })
    }

    #[test]
    fn metrics_and_health_are_served_and_nothing_else() {
        let long = format!("GET /metrics HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(HEAD_MAX));
        let answers = ask(&[
            "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n",
            "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n",
            "HEAD /metrics HTTP/1.1\r\nhost: x\r\n\r\n",
            "GET /metrics/../secret HTTP/1.1\r\nhost: x\r\n\r\n",
            "POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
            "nonsense\r\n\r\n",
            &long,
        ]);
        let starts = ["200 OK", "200 OK", "200 OK", "404", "405", "400", "431"];
        for (answer, status) in answers.iter().zip(starts) {
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{status}: {answer}");
        }
        assert!(answers[0].contains("version=0.0.4") && answers[0].contains("\nweir_policy_generation 3\n"));
        assert!(answers[1].ends_with("\r\n\r\nok\n"));
        assert!(answers[2].ends_with("\r\n\r\n"), "no body for HEAD");
        assert!(answers[4].contains("allow: GET, HEAD"));
    }

    /// The only waiting is for the server to cut the silent ones off; how long that takes is not judged.
    #[test]
    fn silent_clients_do_not_keep_others_out_for_long() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let patience = Patience { head: Duration::from_millis(20), connection: Duration::from_secs(1) };
            let server = tokio::spawn(serve_with(listener, Arc::new(String::new), patience));
            let mut silent = Vec::new();
            for _ in 0..CONNECTIONS_MAX * 2 {
                silent.push(TcpStream::connect(address).await.unwrap());
            }
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            server.abort();
        });
    }
}
