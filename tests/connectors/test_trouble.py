"""What the answers of exchanges say against a request, in their own words, whatever the status."""

import pytest

from aggregator.catalog.registry import load_exchange
from aggregator.exchange import Meaning, Refused, Request, Trouble
from connectors.families.kraken import notice_wires

SAID: list[tuple[str, int, bytes, Trouble]] = [
    ("okx", 429, b'{"code":"50011","msg":"Too Many Requests"}', Trouble("50011: Too Many Requests", is_busy=True)),
    ("okx", 200, b'{"code":"50001","data":[],"msg":"Service unavailable"}', Trouble("50001: Service unavailable")),
    ("bybit", 200, b'{"retCode":10006,"retMsg":"Too many visits!"}', Trouble("10006: Too many visits!", is_busy=True)),
    ("bybit", 200, b'{"retCode":10016,"retMsg":"Server error.","result":{}}', Trouble("10016: Server error.")),
    ("bybit", 403, b"access too frequent", Trouble("HTTP 403: access too frequent", is_busy=True, wait=600.0)),
    ("bybit", 403, b'{"retCode":10009,"retMsg":"banned"}', Trouble("10009: banned", is_busy=True)),
    (
        "coinmarketcap",
        401,
        b'{"status":{"error_code":1001,"error_message":"This API Key is invalid."}}',
        Trouble("1001: This API Key is invalid."),
    ),
    (
        "coinmarketcap",
        429,
        b'{"status":{"error_code":"1008","error_message":"minute"}}',
        Trouble("1008: minute", is_busy=True),
    ),
    (
        "coinmarketcap",  # the credits of the month are spent: they do not come back within a minute
        429,
        b'{"status":{"error_code":1010,"error_message":"monthly"}}',
        Trouble("1010: monthly", is_busy=True, wait=3600.0),
    ),
    ("gate", 500, b'{"label":"TOO_BUSY","message":"later"}', Trouble("TOO_BUSY: later", is_busy=True)),
    ("gate", 400, b'{"label":"INVALID_PARAM_VALUE","message":"no"}', Trouble("INVALID_PARAM_VALUE: no")),
    ("gate", 429, b'{"label":"TOO_MANY_REQUESTS","message":"a"}', Trouble("TOO_MANY_REQUESTS: a", is_busy=True)),
    ("bitfinex", 200, b'["error",11010,"ratelimit: error"]', Trouble("11010: ratelimit: error", is_busy=True)),
    ("bitfinex", 500, b'["error",10020,"symbol: invalid"]', Trouble("10020: symbol: invalid")),
    (
        "bitflyer",  # as users of it have met it; its documentation names the limit, not the answer
        429,
        b'{"status":-1,"error_message":"Over API limit per period, per IP address","data":null}',
        Trouble("-1: Over API limit per period, per IP address", is_busy=True),
    ),
    (
        "wavesexchange",
        500,
        b'{"errors":[{"code":950200,"message":"Internal Server Error"}]}',
        Trouble('[{"code":950200,"message":"Internal Server Error"}]'),
    ),
    (
        "yobit",
        200,
        b'{"success":0,"error":"Invalid pair name: ltc_xyz"}',
        Trouble("Invalid pair name: ltc_xyz"),
    ),
    (
        "yobit",  # as a user of it met it in 2020
        200,
        b'{"success":0,"error":"Rate Limited (bad bot detected)"}',
        Trouble("Rate Limited (bad bot detected)", is_busy=True),
    ),
    (
        "itbit",
        404,
        b'{"type":"about:blank","title":"Not Found","status":404,"detail":"no such market"}',
        Trouble("404: no such market"),
    ),
    (
        "itbit",
        429,
        b'{"type":"about:blank","title":"Too Many Requests","status":429,"detail":"slow down"}',
        Trouble("429: slow down", is_busy=True, wait=300.0),
    ),
    ("bitflyer", 400, b'{"status":-156,"error_message":"too old","data":null}', Trouble("-156: too old")),
    ("kucoin", 200, b'{"code":"429000","msg":"too many"}', Trouble("429000: too many", is_busy=True, wait=8.0)),
    ("kucoinfutures", 200, b'{"code":"400100","msg":"symbol"}', Trouble("400100: symbol")),
    (
        "deribit",
        400,
        b'{"jsonrpc":"2.0","error":{"message":"too_many_requests","code":10028,"data":{"wait":10}}}',
        Trouble("10028: too_many_requests", is_busy=True, wait=10.0),
    ),
    (
        "deribit",
        400,
        b'{"jsonrpc":"2.0","error":{"message":"Invalid params","code":-32602,"data":{"param":"kind","reason":"x"}}}',
        Trouble("-32602: Invalid params"),
    ),
    (
        "binance",
        418,
        b'{"code":-1003,"msg":"Way too much request weight used; IP banned until 1795867200000."}',
        Trouble(
            "-1003: Way too much request weight used; IP banned until 1795867200000.",
            is_busy=True,
            until=1_795_867_200_000_000_000,
        ),
    ),
    (
        "binanceusdm",
        418,
        b'{"code":-1003,"msg":"Way too many requests; IP(1.2.3.4) banned until 1795867200000. Use streams."}',
        Trouble(
            "-1003: Way too many requests; IP(1.2.3.4) banned until 1795867200000. Use streams.",
            is_busy=True,
            until=1_795_867_200_000_000_000,
        ),
    ),
    ("binancecoinm", 400, b'{"code":-1121,"msg":"Invalid symbol."}', Trouble("-1121: Invalid symbol.")),
    ("binancecoinm", 503, b'{"code":-1008,"msg":"overloaded"}', Trouble("-1008: overloaded", is_busy=True)),
    (
        "deribit",
        400,
        b'{"error":{"message":"too_many_concurrent_requests","code":10066}}',
        Trouble("10066: too_many_concurrent_requests", is_busy=True),
    ),
    ("digifinex", 400, b'{"code":400002,"msg":"invalid InstrumentId"}', Trouble("400002: invalid InstrumentId")),
    ("lbank", 200, b'{"error_code":20156,"msg":"delisted","result":"false"}', Trouble("20156: delisted")),
    ("bigone", 200, b'{"code":10013,"message":"not found"}', Trouble("10013: not found")),
    ("cex", 422, b'{"error":"pair NOPE-USD is not supported"}', Trouble("pair NOPE-USD is not supported")),
    ("cex", 429, b'{"error":"API rate limit reached"}', Trouble("API rate limit reached", is_busy=True)),
    ("xt", 200, b'{"rc":1,"mc":"SYMBOL_001","ma":[],"result":null}', Trouble("1: SYMBOL_001")),
    (
        "xt",
        200,
        b'{"returnCode":1,"error":{"code":"invalid_symbol","msg":"invalid symbol"},"result":null}',
        Trouble("invalid_symbol: invalid symbol"),
    ),
    (
        "p2b",
        422,
        b'{"success":false,"errorCode":2021,"message":"Unknown market.","result":[]}',
        Trouble("2021: Unknown market."),
    ),
    ("aster", 400, b'{"code":-1121,"msg":"Invalid symbol."}', Trouble("-1121: Invalid symbol.")),
    ("bitrue", 200, b'{"code":"-1121","msg":"Invalid contract","data":null}', Trouble("-1121: Invalid contract")),
    (
        "hashkey",
        400,
        b'{"code":-100011,"msg":"Not supported symbols"}',
        Trouble("-100011: Not supported symbols"),
    ),
    ("bingx", 200, b'{"code":109425,"msg":"no such symbol","data":{}}', Trouble("109425: no such symbol")),
    *(
        (
            id,
            429,
            b'{"code":-1003,"msg":"Way too many requests; IP banned until 1795867200000. Use streams."}',
            Trouble(
                "-1003: Way too many requests; IP banned until 1795867200000. Use streams.",
                is_busy=True,
                until=1_795_867_200_000_000_000,
            ),
        )
        for id in ("toobit", "hashkey")
    ),
    ("bingx", 200, b'{"code":100410,"msg":"slower"}', Trouble("100410: slower", is_busy=True)),
    (
        "bingx",
        200,
        b'{"code":100410,"msg":"disabled period and will be unblocked after 1795867200123"}',
        Trouble(
            "100410: disabled period and will be unblocked after 1795867200123",
            is_busy=True,
            until=1_795_867_200_123_000_000,
        ),
    ),
    (
        "bingx",
        200,
        b'{"code":109429,"msg":"verify and fix it ,can retry after time: 1795867200123"}',
        Trouble(
            "109429: verify and fix it ,can retry after time: 1795867200123",
            is_busy=True,
            until=1_795_867_200_123_000_000,
        ),
    ),
    # as probed in September 2026: an unknown market comes with a good status
    ("coinsph", 200, b'{"code":-100011,"msg":"Not supported symbols"}', Trouble("-100011: Not supported symbols")),
    (
        "tokocrypto",
        200,
        b'{"code":2802,"msg":"Trading pair does not exist","data":null,"timestamp":1}',
        Trouble("2802: Trading pair does not exist"),
    ),
    ("binancetr", 200, b'{"code":3210,"msg":"Symbol","data":null,"timestamp":1}', Trouble("3210: Symbol")),
    ("binanceus", 200, b'{"code":-1121,"msg":"Invalid symbol."}', Trouble("-1121: Invalid symbol.")),
    ("bitget", 200, b'{"code":"40034","msg":"no such parameter","data":null}', Trouble("40034: no such parameter")),
    ("bitget", 429, b'{"code":"429","msg":"Too Many Requests"}', Trouble("429: Too Many Requests", is_busy=True)),
    ("htx", 200, b'{"status":"error","err-code":"base-error","err-msg":"sorry"}', Trouble("base-error: sorry")),
    ("htx", 200, b'{"status":"error","err_code":1032,"err_msg":"limit"}', Trouble("1032: limit", is_busy=True)),
    ("blofin", 200, b'{"code":"152001","msg":"wrong parameter"}', Trouble("152001: wrong parameter")),
    ("cryptocom", 200, b'{"code":42901,"message":"limit"}', Trouble("42901: limit", is_busy=True)),
    ("dydx", 404, b'{"errors":[{"msg":"X-USD not found"}]}', Trouble("X-USD not found")),
    (
        "backpack",
        400,
        b'{"code":"INVALID_CLIENT_REQUEST","message":"Invalid market"}',
        Trouble("INVALID_CLIENT_REQUEST: Invalid market"),
    ),
    (
        "backpack",
        429,
        b'{"code":"TOO_MANY_REQUESTS","message":"Slow down"}',
        Trouble("TOO_MANY_REQUESTS: Slow down", is_busy=True),
    ),
    (
        "lighter",
        200,
        b'{"code":23000,"message":"Too Many Requests!"}',
        Trouble("23000: Too Many Requests!", is_busy=True),
    ),
    ("paradex", 400, b'{"error":"NOT_FOUND","message":"no market"}', Trouble("NOT_FOUND: no market")),
    ("phemex", 200, b'{"code":10500,"msg":"sorry","data":null}', Trouble("10500: sorry")),
    ("woo", 200, b'{"success":false,"code":-1003,"message":"limit"}', Trouble("-1003: limit", is_busy=True)),
    (
        "woofipro",
        200,
        b'{"success":false,"code":"RATE_LIMIT_EXCEEDED","message":"sorry"}',
        Trouble("RATE_LIMIT_EXCEEDED: sorry", is_busy=True),
    ),
    ("mexc", 200, b'{"success":false,"code":510,"message":"too frequent"}', Trouble("510: too frequent", is_busy=True)),
    ("poloniex", 200, b'{"code":24101,"data":"","msg":"Invalid symbol!"}', Trouble("24101: Invalid symbol!")),
    ("bitbank", 404, b'{"success":0,"data":{"code":10000}}', Trouble("10000")),
    ("bitbank", 429, b'{"success":0,"data":{"code":10009}}', Trouble("10009", is_busy=True)),
    ("paymium", 422, b'{"errors":["Invalid currency code"]}', Trouble('["Invalid currency code"]')),
    (
        "bitopro",
        422,
        b'{"error":"Unsupported trading pair nope_usdt."}',
        Trouble("Unsupported trading pair nope_usdt."),
    ),
    ("zaif", 200, b'{"error":"unsupported currency_pair"}', Trouble("unsupported currency_pair")),
    ("coincheck", 400, b'{"success":false,"error":"invalid pair"}', Trouble("invalid pair")),
    ("bitbns", 200, b'[{"status":0,"msg":"Invalid market or coin passed"}]', Trouble("Invalid market or coin passed")),
    # as ccxt 4.5 reads it: the only field of an answer that is none
    ("bit2c", 200, b'{"error":"pair not found"}', Trouble("pair not found")),
    ("bitvavo", 429, b'{"errorCode":105,"error":"Rate limit"}', Trouble("105: Rate limit", is_busy=True)),
    ("onetrading", 400, b'{"error":"INVALID_INSTRUMENT_CODE"}', Trouble("INVALID_INSTRUMENT_CODE")),
    ("btcmarkets", 404, b'{"code":"MarketNotFound","message":"no"}', Trouble("MarketNotFound: no")),
    (
        "independentreserve",
        400,
        b'{"ErrorCode":"ValidationError","Message":"Invalid Primary Currency Code"}',
        Trouble("ValidationError: Invalid Primary Currency Code"),
    ),
    ("delta", 400, b'{"error":{"code":"invalid_contract"},"success":false}', Trouble("invalid_contract")),
    ("coinspot", 200, b'{"status":"error","message":"sorry"}', Trouble("error: sorry")),
    ("kraken", 200, b'{"error":["EGeneral:Too many requests"]}', Trouble("EGeneral:Too many requests", is_busy=True)),
    (
        "gemini",
        200,  # as recorded; the documentation (November 2026) promises another status
        b'{"result":"error","reason":"InvalidSymbol","message":"Supplied value \'bla\' is not a valid symbol."}',
        Trouble("InvalidSymbol: Supplied value 'bla' is not a valid symbol."),
    ),
    (
        "gemini",
        429,
        b'{"result":"error","reason":"RateLimit","message":"Requests were made too frequently"}',
        Trouble("RateLimit: Requests were made too frequently", is_busy=True),
    ),
    # as ccxt 4.5 reads them: the code of an exceeded limit is that of HTTP
    (
        "hitbtc",
        429,
        b'{"error":{"code":429,"message":"Too many requests","description":"Rate limit exceeded"}}',
        Trouble("429: Too many requests", is_busy=True),
    ),
    ("bequant", 400, b'{"error":{"code":2001,"message":"Symbol not found"}}', Trouble("2001: Symbol not found")),
    # docs.whitebit.com, rate limits and errors, November 2026
    (
        "whitebit",
        400,
        b'{"success":false,"message":"ERROR MESSAGE","params":[]}',
        Trouble("false: ERROR MESSAGE"),
    ),
    # docs.upbit.com (kr), apidocs.bithumb.com: one form for both; Bithumb names errors by numbers, too (November 2026)
    (
        "upbit",
        400,
        b'{"error":{"name":"validation_error","message":"market is missing"}}',
        Trouble("validation_error: market is missing"),
    ),
    ("bithumb", 200, b'{"error":{"name":429,"message":"slower"}}', Trouble("429: slower", is_busy=True)),
    # as clients of both read them (2025): neither documentation shows the whole form
    ("coinbase", 400, b'{"error":"INVALID_ARGUMENT","message":"no product"}', Trouble("INVALID_ARGUMENT: no product")),
    ("coinbaseexchange", 404, b'{"message":"NotFound"}', Trouble("NotFound")),
    (
        "coinmate",
        200,
        b'{"error":true,"errorMessage":"No such pair","data":null}',
        Trouble("No such pair"),
    ),
    # live probes by others, September 2026
    (
        "mercado",
        400,
        b'{"code":"PUBLIC_DATA|GET_ORDERBOOK|INVALID_BASE_QUOTE","message":"This BASE-QUOTE is invalid or not found"}',
        Trouble("PUBLIC_DATA|GET_ORDERBOOK|INVALID_BASE_QUOTE: This BASE-QUOTE is invalid or not found"),
    ),
    ("bitteam", 404, b'{"ok":false,"code":404,"message":"Pair not found"}', Trouble("false: Pair not found")),
    (
        "coinone",
        200,
        b'{"result":"error","error_code":"108","error_msg":"Unknown CryptoCurrency"}',
        Trouble("108: Unknown CryptoCurrency"),
    ),
    (
        "coinone",
        200,
        b'{"result":"error","error_code":"4","error_msg":"Blocked user access"}',
        Trouble("4: Blocked user access", is_busy=True),
    ),
    (
        "indodax",
        200,
        b'{"error":"invalid_pair","error_description":"Invalid Pair"}',
        Trouble("invalid_pair: Invalid Pair"),
    ),
    (
        "foxbit",
        429,
        b'{"error":{"message":"Too many requests.","code":429,"details":"Request limit exceeded, try again later."}}',
        Trouble("429: Too many requests.", is_busy=True),
    ),
    (
        "foxbit",
        404,
        b'{"error":{"message":"Resource not found.","code":404,"details":["Market for symbol \'x\' not found."]}}',
        Trouble("404: Resource not found."),
    ),
    (
        "bitso",
        420,
        b'{"success":false,"error":{"code":"0801","message":"Too many requests"}}',
        Trouble("0801: Too many requests", is_busy=True),
    ),
    ("bitso", 404, b'{"error":{"code":20,"message":"Unknown book"}}', Trouble("20: Unknown book")),
    (
        "luno",
        400,
        b'{"error":"Market not available","error_code":"ErrMarketUnavailable"}',
        Trouble("ErrMarketUnavailable: Market not available"),
    ),
    ("hollaex", 400, b'{"message":"Invalid symbol"}', Trouble("Invalid symbol")),
    (
        "latoken",
        404,
        b'{"error":"NOT_FOUND","message":"Unable to resolve currency by tag (X)","status":"FAILURE"}',
        Trouble("NOT_FOUND: Unable to resolve currency by tag (X)"),
    ),
    (
        "latoken",
        429,
        b'{"result":false,"message":"too many requests","error":"TOO_MANY_REQUESTS","status":"FAILURE"}',
        Trouble("TOO_MANY_REQUESTS: too many requests", is_busy=True),
    ),
    (
        "ndax",
        404,
        b'{"status":"Rejected","errormsg":"Resource Not Found","errorcode":104}',
        Trouble("104: Resource Not Found"),
    ),
    (
        "btcturk",
        400,
        b'{"success":false,"message":"Pair NOPE does not exists.","code":1037}',
        Trouble("1037: Pair NOPE does not exists."),
    ),
    (
        "btcturk",
        429,
        b'{"message":"TOO_MANY_REQUESTS","success":false,"code":429,"limit":"120","period":"1m"}',
        Trouble("429: TOO_MANY_REQUESTS", is_busy=True),
    ),
    # live probes by others, September 2026; the status of the first was not seen
    (
        "wazirx",
        429,
        b'{"message":"Too many api request","code":2136}',
        Trouble("2136: Too many api request", is_busy=True),
    ),
    (
        "wazirx",
        400,
        b'{"message":"symbol does not have a valid value","code":3001}',
        Trouble("3001: symbol does not have a valid value"),
    ),
    ("buda", 404, b'{"message":"Not found","code":"not_found"}', Trouble("not_found: Not found")),
    ("apex", 200, b'{"code":10001,"msg":"request para error"}', Trouble("10001: request para error")),
    ("apex", 403, b"too many requests", Trouble("too many requests", is_busy=True)),
    (
        "grvt",
        404,
        b'{"code":3000,"message":"Instrument is invalid","status":400}',
        Trouble("3000: Instrument is invalid"),
    ),
    (
        "grvt",
        429,
        b'{"code":1006,"message":"You have surpassed the allocated rate limit for your tier","status":429}',
        Trouble("1006: You have surpassed the allocated rate limit for your tier", is_busy=True),
    ),
    (
        "extended",
        404,
        b'{"status":"ERROR","error":{"code":1001,"message":"Market not found."}}',
        Trouble("1001: Market not found."),
    ),
    (
        "pacifica",
        200,
        b'{"success":false,"data":null,"error":"Book not found: X","code":3}',
        Trouble("3: Book not found: X"),
    ),
    (
        "derive",
        200,
        b'{"id":1,"error":{"code":-32000,"message":"Rate limit exceeded"}}',
        Trouble("-32000: Rate limit exceeded", is_busy=True),
    ),
    (
        "derive",
        200,
        b'{"id":1,"error":{"code":12001,"message":"Instrument not found"}}',
        Trouble("12001: Instrument not found"),
    ),
    (
        "hibachi",
        400,
        b'{"errorCode":4,"message":"Invalid input: Invalid symbol","status":"failed"}',
        Trouble("4: Invalid input: Invalid symbol"),
    ),
    (
        "nado",
        200,
        b'{"status":"failure","error":"Invalid product id","error_code":2000}',
        Trouble("2000: Invalid product id"),
    ),
    (
        "nado",
        200,
        b'{"status":"failure","error":"Too Many Requests!","error_code":1000}',
        Trouble("1000: Too Many Requests!", is_busy=True),
    ),
    ("polymarket", 429, b'{"error":"ip_rate_limited"}', Trouble("ip_rate_limited", is_busy=True)),
    ("polymarket", 400, b'{"error":"invalid instrument"}', Trouble("invalid instrument")),
    (
        "weex",
        400,
        b'{"code":-1121,"msg":"Invalid symbol."}',
        Trouble("-1121: Invalid symbol."),
    ),
    (
        "bullish",
        429,
        b'{"errorCode":96000,"errorCodeName":"RATE_LIMIT","message":"Too many requests"}',
        Trouble("96000: Too many requests", is_busy=True),
    ),
    (
        "toobit",
        400,
        b'{"code":-1121,"msg":"Invalid symbol."}',
        Trouble("-1121: Invalid symbol."),
    ),
    (
        "bittrade",
        200,
        b'{"status":"error","err-code":"base-error","err-msg":"sorry"}',
        Trouble("base-error: sorry"),
    ),
    (
        "btse",
        400,
        b'{"code":10010004,"msg":"Invalid symbol","success":false}',
        Trouble("10010004: Invalid symbol"),
    ),
    (
        "deepcoin",
        200,
        b'{"code":"51","msg":"The instType field is required","data":null}',
        Trouble("51: The instType field is required"),
    ),
    (
        "bydfi",
        200,
        b'{"success":false,"code":1001,"message":"Contract does not exist"}',
        Trouble("1001: Contract does not exist"),
    ),
    (
        "cryptomus",
        200,
        b'{"message":"Minimum amount 15 USDT","state":1}',
        Trouble("1: Minimum amount 15 USDT"),
    ),
    ("cryptomus", 200, b'{"code":500,"message":"Server error."}', Trouble("500: Server error.")),
    (
        "revolutx",
        400,
        b'{"error_id":"7d85","message":"No such pair: X-USD","timestamp":1785313433816}',
        Trouble("7d85: No such pair: X-USD"),
    ),
    (
        "zebpay",
        400,
        b'{"statusDescription":"Invalid pair provided.","data":{},"statusCode":400}',
        Trouble("400: Invalid pair provided."),
    ),
    (
        "mudrex",
        401,
        b'{"success":false,"errors":[{"text":"Invalid Authentication","code":3100}]}',
        Trouble("3100: Invalid Authentication"),
    ),
]
FINE: list[tuple[str, bytes]] = [
    ("cryptomus", b'{"state":"0","result":[]}'),
    ("cryptomus", b'{"data":[]}'),
    ("buda", b'{"markets":[]}'),
    ("wazirx", b'{"timezone":"UTC","serverTime":1795168800000,"symbols":[]}'),
    ("btcturk", b'{"data":[],"success":true,"message":null,"code":0}'),
    ("foxbit", b'{"data":[]}'),
    ("yobit", b'{"ltc_btc":{"bids":[[1,2]]}}'),
    ("yobit", b"[]"),
    ("wavesexchange", b'{"__type":"list","isLastPage":true,"data":[]}'),
    ("wavesexchange", b"[]"),
    ("itbit", b'{"markets":[]}'),
    ("itbit", b'{"market":"BTCUSD","last_day":{}}'),
    ("coinmate", b'{"error":false,"errorMessage":null,"data":[]}'),
    ("mercado", b'{"asks":[],"bids":[],"timestamp":1795168801230000001}'),
    ("bitteam", b'{"ok":true,"result":{"count":0,"pairs":[]}}'),
    ("bitteam", b"[]"),
    ("coinone", b'{"result":"success","error_code":"0","markets":[]}'),
    ("indodax", b'{"buy":[],"sell":[]}'),
    ("hollaex", b'{"coins":{},"pairs":{}}'),
    ("latoken", b"[]"),
    ("ndax", b"[]"),
    ("bitbns", b'[{"id":"BTC","symbol":"BTC/INR"}]'),
    ("bit2c", b'{"h":1,"l":1,"ll":"201","av":"200","a":"5"}'),
    ("bit2c", b'{"asks":[],"bids":[]}'),
    ("bit2c", b"[]"),
    ("okx", b'{"code":"0","data":[],"msg":""}'),
    ("binance", b'{"lastUpdateId":1,"bids":[],"asks":[]}'),
    ("bybit", b'{"retCode":0,"retMsg":"OK","result":{"list":[]}}'),
    ("kucoin", b'{"code":"200000","data":[]}'),
    ("deribit", b'{"jsonrpc":"2.0","result":[]}'),
    ("bitget", b'{"code":"00000","msg":"success","data":[]}'),
    ("htx", b'{"status":"ok","data":[]}'),
    ("blofin", b'{"code":"0","msg":"success","data":[]}'),
    ("cryptocom", b'{"id":-1,"method":"public/get-instruments","code":0,"result":{"data":[]}}'),
    ("phemex", b'{"error":null,"id":0,"result":{"symbol":"BTCUSD"}}'),
    ("woo", b'{"success":true,"data":{"rows":[]}}'),
    ("mexc", b'{"lastUpdateId":1,"bids":[],"asks":[]}'),
    ("mexc", b'{"success":true,"code":0,"data":[]}'),
    ("poloniex", b'{"code":200,"data":[],"msg":"Success"}'),
    ("poloniex", b"[]"),
    ("bingx", b'{"code":0,"msg":"","data":[]}'),
    ("tokocrypto", b'{"code":0,"msg":"Success","data":{"list":[]},"timestamp":1}'),
    ("binancetr", b'{"code":0,"msg":"Success","data":{"list":[]},"timestamp":1}'),
    ("binanceusdm", b'{"lastUpdateId":1,"E":1,"T":1,"bids":[],"asks":[]}'),
    ("gate", b'{"id":1,"current":1.0,"update":1.0,"asks":[],"bids":[]}'),
    ("gate", b'[{"id":"BTC_USDT"}]'),
    ("bitfinex", b'[[["BTCUSD",[null,null,null,"0.1","2000.0"]]],[]]'),
    ("bitflyer", b'[{"product_code":"BTC_JPY","market_type":"Spot"}]'),
    ("bitflyer", b'{"health":"NORMAL","state":"RUNNING"}'),
    ("coinspot", b'{"status":"ok","message":"ok"}'),
    ("gemini", b'[{"pair":"BTCUSD","price":"1"}]'),
    ("hitbtc", b'{"BTCUSDT":{"type":"spot"}}'),
    ("whitebit", b'{"success":true,"message":null,"result":[]}'),
    ("upbit", b'[{"market":"KRW-BTC"}]'),
    ("coinbase", b'{"products":[],"num_products":0}'),
    ("coinbaseexchange", b'[{"id":"BTC-USD"}]'),
]


@pytest.mark.parametrize(
    ("id", "status", "body", "trouble"), SAID, ids=lambda said: said if isinstance(said, str) else ""
)
def test_an_error_is_told_in_the_exchanges_words(id: str, status: int, body: bytes, trouble: Trouble) -> None:
    exchange = load_exchange(id)
    assert exchange is not None
    assert exchange.trouble is not None
    assert exchange.trouble(status, {"gw-ratelimit-reset": "8000"}, body) == trouble


@pytest.mark.parametrize("header", ["x-ratelimit-retry-after", "x-ratelimit-retry-after-contract"])
def test_phemex_says_in_a_header_of_its_own_how_long_a_limit_lasts(header: str) -> None:
    exchange = load_exchange("phemex")
    assert exchange is not None
    assert exchange.trouble is not None
    assert exchange.trouble(429, {header: "7"}, b"slower") == Trouble("HTTP 429: slower", is_busy=True, wait=7)
    assert exchange.trouble(429, {}, b"slower") is None  # the status alone tells
    assert exchange.trouble(200, {header: "7"}, b'{"code":0,"data":{}}') is None


def test_revolut_says_in_milliseconds_how_long_a_limit_lasts() -> None:
    exchange = load_exchange("revolutx")
    assert exchange is not None
    assert exchange.trouble is not None
    body = b'{"error_id":"7d85","message":"Rate limit exceeded","timestamp":1785313433816}'
    said = exchange.trouble(429, {"retry-after": "1500"}, body)
    assert said == Trouble("7d85: Rate limit exceeded", is_busy=True, wait=1.5)
    assert exchange.trouble(429, {"retry-after": "20"}, b"") == Trouble("HTTP 429", is_busy=True, wait=0.02)
    assert exchange.trouble(429, {}, b"") is None  # the status alone tells
    assert exchange.trouble(200, {"retry-after": "1500"}, b"[]") is None


@pytest.mark.parametrize(("id", "body"), FINE)
def test_a_good_answer_says_nothing_against_its_request(id: str, body: bytes) -> None:
    exchange = load_exchange(id)
    assert exchange is not None
    assert exchange.trouble is not None
    assert exchange.trouble(200, {}, body) is None


def test_bybits_header_says_when_a_limit_ends() -> None:
    exchange = load_exchange("bybit")
    assert exchange is not None
    assert exchange.trouble is not None
    headers = {"x-bapi-limit-reset-timestamp": "1795867200123"}
    said = exchange.trouble(200, headers, b'{"retCode":10006,"retMsg":"Too many visits!"}')
    assert said == Trouble("10006: Too many visits!", is_busy=True, until=1_795_867_200_123_000_000)
    other = exchange.trouble(200, headers, b'{"retCode":10001,"retMsg":"params error"}')
    assert other == Trouble("10001: params error"), "the header comes with every answer"
    assert exchange.trouble(200, headers, b'{"retCode":0,"result":{}}') is None


@pytest.mark.parametrize("reset", ["1795867200", "1795867200000"])
def test_gates_header_says_when_a_limit_ends(reset: str) -> None:
    exchange = load_exchange("gate")
    assert exchange is not None
    assert exchange.trouble is not None
    headers = {"x-gate-ratelimit-reset-timestamp": reset}
    said = exchange.trouble(429, headers, b'{"label":"TOO_MANY_REQUESTS","message":"slower"}')
    assert said == Trouble("TOO_MANY_REQUESTS: slower", is_busy=True, until=1_795_867_200_000_000_000)
    other = exchange.trouble(400, headers, b'{"label":"INVALID_PARAM_VALUE","message":"no"}')
    assert other == Trouble("INVALID_PARAM_VALUE: no"), "the header comes with every answer"


def test_bybits_listing_is_followed_to_its_end() -> None:
    exchange = load_exchange("bybit")
    assert exchange is not None
    first = exchange.listing.requests[1]
    (second,) = exchange.listing.more(
        first, b'{"retCode":0,"result":{"list":[],"nextPageCursor":"first%3DA%26last%3DB"}}'
    )
    assert second == Request(f"{first.url}&cursor=first%3DA%26last%3DB")
    (third,) = exchange.listing.more(second, b'{"retCode":0,"result":{"list":[],"nextPageCursor":"C"}}')
    assert third == Request(f"{first.url}&cursor=C")
    assert list(exchange.listing.more(third, b'{"retCode":0,"result":{"list":[],"nextPageCursor":""}}')) == []


def test_krakens_pace_is_no_lasting_refusal() -> None:
    assert notice_wires.meaning("Exceeded msg rate") == "passing"
    assert notice_wires.meaning("EAPI:Rate limit exceeded") == "passing"
    assert notice_wires.meaning("Currency pair not supported X/USD") == "final"


REFUSED: list[tuple[str, bytes, Meaning]] = [
    ("okx", b'{"event":"error","code":"60018","msg":"channel:trades,instId:X doesn\'t exist."}', "final"),
    ("okx", b'{"event":"error","code":"60014","msg":"Requests too frequent."}', "passing"),
    ("okx", b'{"event":"error","code":"60012","msg":"Illegal request"}', "unknown"),
    ("deribit", b'{"id":3,"error":{"code":13028,"message":"temporarily_unavailable"}}', "passing"),
    ("deribit", b'{"id":3,"error":{"code":10066,"message":"too_many_concurrent_requests"}}', "passing"),
    ("deribit", b'{"id":3,"error":{"code":-32602,"message":"Invalid params"}}', "unknown"),
    ("deribit", b'{"id":3,"error":{"code":13020,"message":"not_found"}}', "final"),
    ("deribit", b'{"id":3,"error":{"code":10020,"message":"invalid_or_unsupported_instrument"}}', "final"),
    ("deribit", b'{"id":3,"error":{"code":10041,"message":"settlement_in_progress"}}', "passing"),
    ("deribit", b'{"id":3,"error":{"code":10047,"message":"matching_engine_queue_full"}}', "passing"),
    ("deribit", b'{"id":3,"error":{"code":11094,"message":"internal_server_error"}}', "passing"),
    ("okx", b'{"event":"error","code":"60029","msg":"Only users who are VIP5 and above may subscribe"}', "final"),
    ("bitget", b'{"event":"error","code":30001,"msg":"instType:SPOT,channel:trade,instId:X doesn\'t exist"}', "final"),
    ("bitget", b'{"event":"error","code":429,"msg":"Too Many Requests"}', "passing"),
    ("bitfinex", b'{"event":"error","code":10302,"msg":"channel: unknown"}', "final"),
    ("bitfinex", b'{"event":"error","code":11000,"msg":"not ready"}', "passing"),
    ("bitfinex", b'{"event":"error","code":10305,"msg":"channels: limit"}', "unknown"),
    ("krakenfutures", b'{"event":"error","message":"Invalid feed"}', "final"),
    ("krakenfutures", b'{"event":"error","message":"Json Error"}', "unknown"),
    ("krakenfutures", b'{"event":"subscribed_failed","feed":"book","product_ids":["PF_X"]}', "unknown"),
    (
        "krakenfutures",
        b'{"event":"subscribed_failed","feed":"book","product_ids":["PF_X"],"message":"Invalid product id"}',
        "final",
    ),
    ("bybit", b'{"success":false,"ret_msg":"error:handler not found,topic:publicTrade.X","op":"subscribe"}', "final"),
    ("coinbaseexchange", b'{"type":"error","message":"no","reason":"X-USD is not a valid product"}', "final"),
    ("htx", b'{"id":"1","status":"error","err-code":"bad-request","err-msg":"invalid topic market.x"}', "final"),
    ("kucoin", b'{"id":"1","type":"error","code":509,"data":"exceed max permits per second"}', "passing"),
    ("kucoin", b'{"id":"1","type":"error","code":509,"data":"exceed max permits per 10 seconds"}', "passing"),
    ("hitbtc", b'{"jsonrpc":"2.0","error":{"code":2001,"message":"Symbol not found"},"id":1}', "final"),
    ("cryptocom", b'{"id":1,"method":"subscribe","code":40003,"message":"Unknown symbol"}', "final"),
]


@pytest.mark.parametrize(("id", "frame", "meaning"), REFUSED)
def test_a_refusal_of_a_topic_means_what_its_words_say(id: str, frame: bytes, meaning: Meaning) -> None:
    exchange = load_exchange(id)
    assert exchange is not None
    refused = [event for event in exchange.streams[0].reader()(frame) if isinstance(event, Refused)]
    assert refused
    assert {event.meaning for event in refused} == {meaning}
