"""The past as each exchange's documentation says that it is asked for, and the answers that it shows there."""

import json
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from aggregator.backfill.walks import moment, name
from aggregator.catalog.registry import connector_ids, load_exchange
from aggregator.exchange import Page, PastPages
from aggregator.records import DAY_S, MINUTE_NS, MS_NS, SECOND_NS, Candle, Instrument, Trade
from aggregator.wire import interval_s

START = 1_700_000_040_000 * MS_NS  # a whole minute
END = START + 600 * SECOND_NS
SPOT = Instrument(kind="spot", base="BTC", quote="USDT")
LINEAR = Instrument(kind="perpetual", base="BTC", quote="USDT", settle="USDT", linear=True)
INVERSE = Instrument(kind="perpetual", base="BTC", quote="USD", settle="BTC", linear=False)

# exchange, instrument, channel, what the first page asks for, what a later one asks for, an answer, what it gives:
# of a trade id, price, size, side and ms; of a candle ms, open, high, low, close, and the volumes that are told
Case = tuple[str, Instrument, str, str, str, str, list[tuple[object, ...]]]
S, E = START // MS_NS, END // MS_NS
CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
FIRST_TRADES, LAST_TRADES = 1_300_000_000 * SECOND_NS, 1_900_000_000 * SECOND_NS  # 2011 and 2030

CASES: list[Case] = [
    (
        "binance", SPOT, "trades",
        "https://api.binance.com/api/v3/historicalTrades?symbol=X&limit=1000",
        "https://api.binance.com/api/v3/historicalTrades?symbol=X&limit=1000&fromId=500",
        ('[{"id":28457,"price":"4.00000100","qty":"12.00000000","quoteQty":"48.000012","time":1499865549590,'
        '"isBuyerMaker":true,"isBestMatch":true}]'),
        [("28457", "4.00000100", "12.00000000", "sell", 1499865549590)],
    ),
    (
        "binance", SPOT, "candles",
        f"https://api.binance.com/api/v3/klines?symbol=X&interval=1m&limit=1000&startTime={S}&endTime={E - 1}",
        "",
        ('[[1499040000000,"0.01634790","0.80000000","0.01575800","0.01577100","148976.11427815",1499644799999,'
        '"2434.19055334",308,"1756.87402397","28.46694368","0"]]'),
        [(1499040000000, "0.01634790", "0.80000000", "0.01575800", "0.01577100", "148976.11427815", "2434.19055334",
          None)],
    ),
    (
        "binanceusdm", LINEAR, "trades",
        f"https://fapi.binance.com/fapi/v1/aggTrades?symbol=X&limit=1000&startTime={S}&endTime={E - 1}",
        "https://fapi.binance.com/fapi/v1/aggTrades?symbol=X&limit=1000&fromId=500",
        '[{"a":26129,"p":"0.01633102","q":"4.70443515","f":27781,"l":27781,"T":1498793709153,"m":true}]',
        [("26129", "0.01633102", "4.70443515", "sell", 1498793709153)],
    ),
    (
        "binancecoinm", INVERSE, "candles",
        f"https://dapi.binance.com/dapi/v1/klines?symbol=X&interval=1m&limit=1000&startTime={S}&endTime={E - 1}",
        "",
        ('[[1591258320000,"9640.7","9642.4","9640.6","9642.0","206",1591258379999,"2.13660389",48,"119","1.23424865",'
        '"0"]]'),
        [(1591258320000, "9640.7", "9642.4", "9640.6", "9642.0", "2.13660389", None, "206")],
    ),
    (
        "bybit", SPOT, "trades",
        "https://api.bybit.com/v5/market/recent-trade?category=spot&symbol=X&limit=60",
        "",
        ('{"retCode":0,"retMsg":"OK","result":{"category":"spot","list":[{"execId":"2100000000007764263",'
        '"symbol":"BTCUSDT","price":"16618.49","size":"0.00012","side":"Buy","time":"1672052955758",'
        '"isBlockTrade":false,"isRPITrade":false}]},"retExtInfo":{},"time":1672053054358}'),
        [("2100000000007764263", "16618.49", "0.00012", "buy", 1672052955758)],
    ),
    (
        "bybit", INVERSE, "candles",
        f"https://api.bybit.com/v5/market/kline?category=inverse&symbol=X&interval=1&limit=1000&start={S}&end={E - 1}",
        "",
        ('{"retCode":0,"retMsg":"OK","result":{"symbol":"BTCUSD","category":"inverse","list":[["1670608800000",'
        '"17071","17073","17027","17055.5","268611","15.74462667"],["1670605200000","17071.5","17071.5","17061",'
        '"17071","4177","0.24469757"]]},"retExtInfo":{},"time":1672025956592}'),
        [(1670605200000, "17071.5", "17071.5", "17061", "17071", "0.24469757", "4177", None),
         (1670608800000, "17071", "17073", "17027", "17055.5", "15.74462667", "268611", None)],
    ),
    (
        "okx", SPOT, "trades",
        f"https://www.okx.com/api/v5/market/history-trades?instId=X&limit=100&type=2&after={E}",
        "https://www.okx.com/api/v5/market/history-trades?instId=X&limit=100&type=1&after=t499",
        ('{"code":"0","msg":"","data":[{"instId":"BTC-USDT","side":"sell","sz":"0.00001","px":"29963.2",'
        '"tradeId":"242720720","ts":"1654161646974"},{"instId":"BTC-USDT","side":"sell","sz":"0.00001","px":"29964.1",'
        '"tradeId":"242720719","ts":"1654161641568"}]}'),
        [("242720719", "29964.1", "0.00001", "sell", 1654161641568),
         ("242720720", "29963.2", "0.00001", "sell", 1654161646974)],
    ),
    (
        "okx", SPOT, "candles",
        f"https://www.okx.com/api/v5/market/history-candles?instId=X&bar=1m&limit=100&after={E}&before={S - 1}",
        "",
        ('{"code":"0","msg":"","data":[["1597026383085","3.721","3.743","3.677","3.708","8422410","22698348.04",'
        '"12698348.04","1"]]}'),
        [(1597026383085, "3.721", "3.743", "3.677", "3.708", "22698348.04", "12698348.04", "8422410")],
    ),
    (
        "coinbaseexchange", SPOT, "trades",
        "https://api.exchange.coinbase.com/products/X/trades?limit=1000",
        "https://api.exchange.coinbase.com/products/X/trades?limit=1000&after=1500",
        ('[{"trade_id":74,"side":"sell","size":"0.01000000","price":"10.00000000","time":"2014-11-07T22:19:28.578544Z"},'
        '{"trade_id":73,"side":"buy","size":"0.01000000","price":"100.00000000","time":"2014-11-07T01:08:43.642366Z"}]'),
        [("73", "100.00000000", "0.01000000", "sell", 1415322523642.366),
         ("74", "10.00000000", "0.01000000", "buy", 1415398768578.544)],
    ),
    (
        "coinbaseexchange", SPOT, "candles",
        f"https://api.exchange.coinbase.com/products/X/candles?granularity=60&start={S // 1000}&end={E // 1000 - 1}",
        "",
        "[[1415398768,0.32,4.2,0.35,4.2,12.3]]",
        [(1415398768000, "0.35", "4.2", "0.32", "4.2", "12.3", None, None)],
    ),
    (
        "coinbase", SPOT, "trades",
        ("https://api.coinbase.com/api/v3/brokerage/market/products/X/ticker?limit=1000"
        f"&start={S // 1000}&end={E // 1000}"),
        ("https://api.coinbase.com/api/v3/brokerage/market/products/X/ticker?limit=1000"
        f"&start={S // 1000}&end={S // 1000 + 6}"),
        # an answer that ccxt 4.5.90 shows (coinbase.py, fetch_trades): the documentation's id is no number
        ('{"trades":[{"trade_id":"10092327","product_id":"BTC-USDT","price":"17488.12","size":"0.0000623","time":'
        '"2023-01-11T00:52:37.557001Z","side":"BUY","bid":"","ask":""}]}'),
        [("10092327", "17488.12", "0.0000623", "sell", 1673398357557.001)],
    ),
    (
        "coinbase", SPOT, "candles",
        ("https://api.coinbase.com/api/v3/brokerage/market/products/X/candles?granularity=ONE_MINUTE&limit=350"
        f"&start={S // 1000}&end={E // 1000}"),
        "",
        ('{"candles":[{"start":"1639508050","low":"140.21","high":"140.25","open":"140.23","close":"140.24",'
        '"volume":"56437345"}]}'),
        [(1639508050000, "140.23", "140.25", "140.21", "140.24", "56437345", None, None)],
    ),
    (
        "kraken", SPOT, "trades",
        f"https://api.kraken.com/0/public/Trades?pair=X&since={START - 1}&count=1000",
        "",
        ('{"error":[],"result":{"XXBTZUSD":[["30243.40000","0.34507674",1688669597.8277369,"b","m","",61044952],'
        '["30243.30000","0.00376960",1688669598.2804112,"s","l","",61044953]],"last":"1688671969993150842"}}'),
        [("61044952", "30243.40000", "0.34507674", "buy", 1688669597827.7369),
         ("61044953", "30243.30000", "0.00376960", "sell", 1688669598280.4112)],
    ),
    (
        "kraken", SPOT, "candles",
        "https://api.kraken.com/0/public/OHLC?pair=X&interval=1",
        "",
        ('{"error":[],"result":{"XXBTZUSD":[[1688671200,"30306.1","30306.2","30305.7","30305.7","30306.1","3.39243896",'
        '23]],"last":1688672160}}'),
        [(1688671200000, "30306.1", "30306.2", "30305.7", "30305.7", "3.39243896", None, None)],
    ),
    (
        "krakenfutures", LINEAR, "trades",
        "https://futures.kraken.com/derivatives/api/v3/history?symbol=X&lastTime=2023-11-14T22:24:00.000Z",
        "https://futures.kraken.com/derivatives/api/v3/history?symbol=X&lastTime=2023-11-14T22:14:05.001Z",
        ('{"result":"success","serverTime":"2022-06-14T06:23:55.672Z","history":[{"price":22031.5,"side":"sell",'
        '"size":"15","time":"2022-06-14T06:23:09.123Z","trade_id":100,"type":"fill",'
        '"uid":"c45a4bb1-2a42-4a4b-9f1d-6d0ee5a5a8aa"}]}'),
        [("c45a4bb1-2a42-4a4b-9f1d-6d0ee5a5a8aa", "22031.5", "15", "sell", 1655187789123)],
    ),
    (
        "krakenfutures", LINEAR, "candles",
        f"https://futures.kraken.com/api/charts/v1/trade/X/1m?from={S // 1000}&to={E // 1000 - 1}",
        "",
        ('{"candles":[{"time":1620816960000,"open":"56294.0","high":"56310.0","low":"56294.0","close":"56300.0",'
        '"volume":134000}],"more_candles":true}'),
        [(1620816960000, "56294.0", "56310.0", "56294.0", "56300.0", None, None, "134000")],
    ),
    (
        "bitfinex", SPOT, "trades",
        f"https://api-pub.bitfinex.com/v2/trades/X/hist?sort=1&limit=10000&start={S}&end={E - 1}",
        f"https://api-pub.bitfinex.com/v2/trades/X/hist?sort=1&limit=10000&start={S + 5000}&end={E - 1}",
        "[[388063448,1567526214876,1.918524,10682],[388063449,1567526215000,-0.00000001,10681.5]]",
        [("388063448", "10682", "1.918524", "buy", 1567526214876),
         ("388063449", "10681.5", "0.00000001", "sell", 1567526215000)],
    ),
    (
        "bitfinex", SPOT, "candles",
        f"https://api-pub.bitfinex.com/v2/candles/trade:1m:X/hist?sort=1&limit=10000&start={S}&end={E - 1}",
        "",
        "[[1678465320000,20097,20094,20097,20094,0.07870586]]",
        [(1678465320000, "20097", "20097", "20094", "20094", "0.07870586", None, None)],
    ),
    (
        "bitstamp", SPOT, "trades",
        "https://www.bitstamp.net/api/v2/transactions/X/?time=day",
        "",
        '[{"amount":"0.01513062","date":"1666192320","price":"1500.12","tid":"256128127","type":"0"}]',
        [("256128127", "1500.12", "0.01513062", "buy", 1666192320000)],
    ),
    (
        "bitstamp", SPOT, "candles",
        f"https://www.bitstamp.net/api/v2/ohlc/X/?step=60&limit=1000&start={S // 1000}&end={E // 1000 - 1}",
        "",
        ('{"data":{"ohlc":[{"close":"2108.43","high":"2108.43","low":"2107.2","open":"2107.2","timestamp":"1643640120",'
        '"volume":"0.5"}],"pair":"BTC/USD"}}'),
        [(1643640120000, "2107.2", "2108.43", "2107.2", "2108.43", "0.5", None, None)],
    ),
    (
        "gate", Instrument(kind="spot", quote="USDT"), "trades",
        ("https://api.gateio.ws/api/v4/spot/trades?currency_pair=X&limit=1000"
        f"&from={S // 1000}&to={E // 1000}"),
        ("https://api.gateio.ws/api/v4/spot/trades?currency_pair=X&limit=1000"
        f"&from={S // 1000}&to={S // 1000 + 6}"),
        ('[{"id":"1232893232","create_time":"1548000000","create_time_ms":"1548000000123.456","order_id":"4128442423",'
        '"side":"buy","role":"maker","amount":"0.15","price":"0.03","sequence_id":"588018",'
        '"currency_pair":"ETH_USDT"}]'),
        [("1232893232", "0.03", "0.15", "buy", 1548000000123.456)],
    ),
    (
        "gate", LINEAR, "trades",
        ("https://api.gateio.ws/api/v4/futures/usdt/trades?contract=X&limit=1000"
        f"&from={S // 1000}&to={E // 1000}"),
        "",
        # an answer that ccxt 4.5.90 shows (gate.py, fetch_trades), with its numbers as the documentation has them; and
        # that documentation's own, which leaves the finer time out
        ('[{"size":2,"id":2522911,"create_time_ms":1634673380.182,"create_time":1634673380.182,"contract":"ADA_USDT",'
        '"price":"2.10486"},{"id":121234231,"create_time":1514764800,"contract":"BTC_USDT","size":-100,"price":'
        '"100.123"}]'),
        [("121234231", "100.123", "100", "sell", 1514764800000), ("2522911", "2.10486", "2", "buy", 1634673380182)],
    ),
    (
        "gate", Instrument(kind="spot", quote="USDT"), "candles",
        (
            f"https://api.gateio.ws/api/v4/spot/candlesticks?currency_pair=X&interval=1m&from={S // 1000}"
            f"&to={E // 1000 - 1}"
        ),
        "",
        '[["1539852480","971519.677","0.0021724","0.0021922","0.0021724","0.0021737","383842.01","true"]]',
        [(1539852480000, "0.0021737", "0.0021922", "0.0021724", "0.0021724", "383842.01", "971519.677", None)],
    ),
    (
        "gate", LINEAR, "candles",
        (f"https://api.gateio.ws/api/v4/futures/usdt/candlesticks?contract=X&interval=1m&from={S // 1000}"
        f"&to={E // 1000 - 1}"),
        "",
        '[{"t":1539852480,"v":97151,"c":"1.032","h":"1.032","l":"1.032","o":"1.032","sum":"3580"}]',
        [(1539852480000, "1.032", "1.032", "1.032", "1.032", None, "3580", "97151")],
    ),
    (
        "kucoin", SPOT, "trades",
        "https://api.kucoin.com/api/v1/market/histories?symbol=X",
        "",
        ('{"code":"200000","data":[{"sequence":"10976028003549185","price":"67122","size":"0.000025","side":"buy",'
        '"time":1729177117877000000},{"sequence":"10976028003549188","price":"67122","size":"0.01792257","side":"buy",'
        '"time":1729177117877000000}]}'),
        [("10976028003549185", "67122", "0.000025", "buy", 1729177117877),
         ("10976028003549188", "67122", "0.01792257", "buy", 1729177117877)],
    ),
    (
        "kucoin", SPOT, "candles",
        f"https://api.kucoin.com/api/v1/market/candles?type=1min&symbol=X&startAt={S // 1000}&endAt={E // 1000}",
        "",
        ('{"code":"200000","data":[["1566789720","10411.5","10401.9","10411.5","10396.3","29.11357276",'
        '"302889.301529914"]]}'),
        [(1566789720000, "10411.5", "10411.5", "10396.3", "10401.9", "29.11357276", "302889.301529914", None)],
    ),
    (
        "kucoinfutures", LINEAR, "trades",
        "https://api-futures.kucoin.com/api/v1/trade/history?symbol=X",
        "",
        ('{"code":"200000","data":[{"sequence":1697915257909,"contractId":1,"tradeId":"1697915257909",'
        '"makerOrderId":"236679665752801280","takerOrderId":"236679667975745536","ts":1729242032152000000,"size":1,'
        '"price":"67878","side":"sell"}]}'),
        [("1697915257909", "67878", "1", "sell", 1729242032152)],
    ),
    (
        "kucoinfutures", LINEAR, "candles",
        f"https://api-futures.kucoin.com/api/v1/kline/query?symbol=X&granularity=1&from={S}&to={E - 1}",
        "",
        '{"code":"200000","data":[[1728576000000,60791.1,61035,58940,60300,5501167,332968.51]]}',
        [(1728576000000, "60791.1", "61035", "58940", "60300", None, None, "5501167")],
    ),
    (
        "htx", SPOT, "trades",
        "https://api.huobi.pro/market/history/trade?symbol=X&size=2000",
        "",
        ('{"ch":"market.btcusdt.trade.detail","status":"ok","ts":1629792192037,"data":[{"id":136107843051,'
        '"ts":1629792191928,"data":[{"id":136107843051348400221001656,"ts":1629792191928,"trade-id":102517374388,'
        '"amount":0.028416,"price":49806.0,"direction":"buy"}]},{"id":136107837883,"ts":1629792191917,"data":[{"id":'
        '136107837883348400190651520,"ts":1629792191917,"trade-id":102517374387,"amount":0.025794,"price":49806.0,'
        '"direction":"sell"}]}]}'),
        [("102517374387", "49806.0", "0.025794", "sell", 1629792191917),
         ("102517374388", "49806.0", "0.028416", "buy", 1629792191928)],
    ),
    (
        "htx", LINEAR, "candles",
        ("https://api.hbdm.com/linear-swap-ex/market/history/kline?contract_code=X&period=1min"
        f"&from={S // 1000}&to={E // 1000 - 1}"),
        "",
        ('{"ch":"market.BTC-USDT.kline.1min","data":[{"amount":0.004,"close":13076.8,"count":1,"high":13076.8,'
        '"id":1603695060,"low":13076.8,"open":13076.8,"trade_turnover":52.3072,"vol":4}],"status":"ok",'
        '"ts":1603695070000}'),
        [(1603695060000, "13076.8", "13076.8", "13076.8", "13076.8", "0.004", "52.3072", "4")],
    ),
    (
        "bitget", SPOT, "trades",
        f"https://api.bitget.com/api/v2/spot/market/fills-history?symbol=X&limit=1000&startTime={S}&endTime={E}",
        (f"https://api.bitget.com/api/v2/spot/market/fills-history?symbol=X&limit=1000&startTime={S}&endTime={E}"
        "&idLessThan=t499"),
        ('{"code":"00000","msg":"success","requestTime":1692073693562,"data":[{"symbol":"BTCUSDT","tradeId":"1",'
        '"side":"buy","price":"29372","size":"1.5","ts":"1692073693000"}]}'),
        [("1", "29372", "1.5", "buy", 1692073693000)],
    ),
    (
        "bitget", LINEAR, "trades",
        ("https://api.bitget.com/api/v2/mix/market/fills-history?symbol=X&productType=USDT-FUTURES&limit=1000"
        f"&startTime={S}&endTime={E}"),
        "",
        # the documentation's, as of 2026: contracts spell the side with a capital
        ('{"code":"00000","msg":"success","requestTime":1695865481335,"data":[{"tradeId":"1","price":"26372.5","size":'
        '"9.25","side":"Sell","ts":"1695865151000","symbol":"BTCUSDT"},{"tradeId":"2","price":"26383","size":"12.12",'
        '"side":"Buy","ts":"1695865115000","symbol":"BTCUSDT"}]}'),
        [("2", "26383", "12.12", "buy", 1695865115000), ("1", "26372.5", "9.25", "sell", 1695865151000)],
    ),
    (
        "bitget", SPOT, "candles",
        ("https://api.bitget.com/api/v2/spot/market/history-candles?symbol=X&granularity=1min&limit=200"
        f"&endTime={E}"),
        "",
        # the documentation's, as of 2026: a volume in USDT stands behind that in the quote asset
        ('{"code":"00000","msg":"success","requestTime":1695799900330,"data":[["1646064000000","43500.8","48207.2",'
        '"38516","46451.9","2581.4668","118062073.82644","118062073.82644"]]}'),
        [(1646064000000, "43500.8", "48207.2", "38516", "46451.9", "2581.4668", "118062073.82644", None)],
    ),
    (
        "bitget", LINEAR, "candles",
        ("https://api.bitget.com/api/v2/mix/market/history-candles?symbol=X&productType=USDT-FUTURES&granularity=1m"
        f"&limit=200&startTime={S}&endTime={E}"),
        "",
        ('{"code":"00000","msg":"success","requestTime":1695865274510,"data":[["1695835800000","26210.5","26210.5",'
        '"26194.5","26194.5","26.26","687897.63"]]}'),
        [(1695835800000, "26210.5", "26210.5", "26194.5", "26194.5", "26.26", "687897.63", None)],
    ),
    (
        "deribit", INVERSE, "trades",
        ("https://www.deribit.com/api/v2/public/get_last_trades_by_instrument_and_time?instrument_name=X"
        f"&start_timestamp={S}&end_timestamp={E - 1}&count=1000&sorting=asc"),
        ("https://www.deribit.com/api/v2/public/get_last_trades_by_instrument?instrument_name=X&start_seq=500"
        "&count=1000&sorting=asc"),
        ('{"jsonrpc":"2.0","id":3983,"result":{"trades":[{"trade_seq":3471,"trade_id":"48077291","timestamp":'
        '1590470616101,"tick_direction":2,"price":203.7,"mark_price":203.78,"instrument_name":"ETH-PERPETUAL",'
        '"index_price":203.89,"direction":"buy","amount":1.0}],"has_more":true}}'),
        [("48077291", "203.7", "1.0", "buy", 1590470616101)],
    ),
    (
        "deribit", INVERSE, "candles",
        ("https://www.deribit.com/api/v2/public/get_tradingview_chart_data?instrument_name=X&resolution=1"
        f"&start_timestamp={S}&end_timestamp={E - 1}"),
        "",
        ('{"jsonrpc":"2.0","id":833,"result":{"volume":[19.007942601],"ticks":[1554373800000],"status":"ok",'
        '"open":[4963.42],"low":[4728.94],"high":[5185.45],"cost":[19000.5],"close":[5052.95]}}'),
        [(1554373800000, "4963.42", "5185.45", "4728.94", "5052.95", "19.007942601", "19000.5", None)],
    ),
    (
        "hyperliquid", LINEAR, "candles",
        f'{{"type":"candleSnapshot","req":{{"coin":"X","interval":"1m","startTime":{S},"endTime":{E - 1}}}}}',
        "",
        ('[{"T":1681924499999,"c":"29258.0","h":"29309.0","i":"15m","l":"29250.0","n":189,"o":"29295.0","s":"BTC",'
        '"t":1681923600000,"v":"0.98639"}]'),
        [(1681923600000, "29295.0", "29309.0", "29250.0", "29258.0", "0.98639", None, None)],
    ),
    (
        "dydx", LINEAR, "trades",
        "https://indexer.dydx.trade/v4/trades/perpetualMarket/X?limit=1000&createdBeforeOrAt=2023-11-14T22:24:00.000Z",
        "https://indexer.dydx.trade/v4/trades/perpetualMarket/X?limit=1000&createdBeforeOrAt=2023-11-14T22:14:05.000Z",
        ('{"trades":[{"id":"03f2c3d600000002","side":"BUY","size":"0.492","price":"2839.9","type":"LIMIT",'
        '"createdAt":"2024-09-12T10:11:04.123Z","createdAtHeight":"27398214"}]}'),
        [("03f2c3d600000002", "2839.9", "0.492", "buy", 1726135864123)],
    ),
    (
        "dydx", LINEAR, "candles",
        ("https://indexer.dydx.trade/v4/candles/perpetualMarkets/X?resolution=1MIN&limit=1000"
        "&fromISO=2023-11-14T22:14:00.000Z&toISO=2023-11-14T22:24:00.000Z"),
        "",
        ('{"candles":[{"startedAt":"2024-09-12T10:11:00.000Z","ticker":"ETH-USD","resolution":"1MIN","low":"2839.5",'
        '"high":"2840","open":"2839.7","close":"2839.9","baseTokenVolume":"1.5","usdVolume":"4259.4","trades":3,'
        '"startingOpenInterest":"1000"}]}'),
        [(1726135860000, "2839.7", "2840", "2839.5", "2839.9", "1.5", "4259.4", None)],
    ),
    (
        "mexc", SPOT, "candles",
        f"https://api.mexc.com/api/v3/klines?symbol=X&interval=1m&limit=500&startTime={S}&endTime={E - 1}",
        "",
        '[[1640804880000,"47482.36","47482.36","47416.57","47436.1","3.550717",1640804940000,"168387.3"]]',
        [(1640804880000, "47482.36", "47482.36", "47416.57", "47436.1", "3.550717", "168387.3", None)],
    ),
    (
        "mexc", LINEAR, "candles",
        f"https://api.mexc.com/api/v1/contract/kline/X?interval=Min1&start={S // 1000}&end={E // 1000 - 1}",
        "",
        ('{"success":true,"code":0,"data":{"time":[1609740600],"open":[33016.5],"close":[33040.5],"high":[33094.0],'
        '"low":[32995.0],"vol":[67332.0],"amount":[222515.85925]}}'),
        [(1609740600000, "33016.5", "33094.0", "32995.0", "33040.5", None, "222515.85925", "67332.0")],
    ),
    (
        "btse", SPOT, "candles",
        (f"https://api.btse.com/public-api/market/v1/klines?symbol=X&resolution=1&start={S // 1000}&end={E // 1000 - 1}"
        "&limit=300"),
        "",
        ('{"data":[["1786600860","1898.3","1899.1","1898.2","1899","1000.5"],["1786600800","1895.78","1898.52",'
        '"1892.05","1898.3","560622.306372"]],"code":1,"msg":"Success","success":true,"time":1786604274378}'),
        [(1786600800000, "1895.78", "1898.52", "1892.05", "1898.3", None, "560622.306372", None),
         (1786600860000, "1898.3", "1899.1", "1898.2", "1899", None, "1000.5", None)],
    ),
    (
        "deepcoin", SPOT, "candles",
        f"https://api.deepcoin.com/deepcoin/market/candles?instId=X&bar=1m&after={E}&limit=300",
        "",
        ('{"code":"0","msg":"","data":[["1760221800000","3739.08","3741.95","3737.75","3740.1","2849","1065583.744"],'
        '["1760221740000","3742.36","3743.01","3736.83","3739.08","2723","1018290.723"]]}'),
        [(1760221740000, "3742.36", "3743.01", "3736.83", "3739.08", "2723", "1018290.723", None),
         (1760221800000, "3739.08", "3741.95", "3737.75", "3740.1", "2849", "1065583.744", None)],
    ),
    (
        "cryptomus", SPOT, "trades",
        "https://api.cryptomus.com/v1/exchange/market/trades/X",
        "",
        ('{"data":[{"trade_id":"01J829C3RAXHXHR09HABGQ1YAT","price":"2315.6320500000000000",'
        '"base_volume":"21.9839623057260000","quote_volume":"0.0094937200000000","timestamp":1726653796,"type":"sell"}]}'),
        [("01J829C3RAXHXHR09HABGQ1YAT", "2315.6320500000000000", "0.0094937200000000", "sell", 1726653796000)],
    ),
    (
        "zebpay", SPOT, "candles",
        f"https://sapi.zebpay.com/api/v2/market/klines?symbol=X&interval=1m&startTime={S}&endTime={E - 1}",
        "",
        ('{"data":[[1756166400,"10055227.245","10285189","9900000","10171612.425","0.40875286",1756252800]],'
        '"statusCode":200,"statusDescription":"Success"}'),
        [(1756166400000, "10055227.245", "10285189", "9900000", "10171612.425", "0.40875286", None, None)],
    ),
    (
        "mudrex", LINEAR, "candles",
        ("https://trade.mudrex.com/fapi/v1/price/kline?assets=X/USDT&aggregation=1m"
        f"&start_time={S // 1000}&end_time={E // 1000 - 1}"),
        "",
        ('{"success":true,"data":{"asset_ticks":{"btc/usdt":[[1782984660,60681,60797.6,60671.8,60693.3,275.741]]}}}'),
        [(1782984660000, "60681", "60797.6", "60671.8", "60693.3", "275.741", None, None)],
    ),
    (
        "revolutx", SPOT, "candles",
        f"https://revx.revolut.com/api/1.0/public/candles/X?interval=1&region=EEA&since={S}&until={E - 1}",
        "",
        ('{"data":[{"start":1785309833816,"open":"119800.00","high":"120100.00","low":"119700.00","close":"120000.00",'
        '"volume":"0.25000000"}],"metadata":{"region":"EEA","timestamp":1785313433816}}'),
        [(1785309833816, "119800.00", "120100.00", "119700.00", "120000.00", "0.25000000", None, None)],
    ),
]  # fmt: skip


GATE_SPOT = Instrument(kind="spot", quote="USDT")
# exchange, instrument, channel, a limit that is declared, the most that it may be, and who says so
LIMITS: list[tuple[str, Instrument, str, str, int, str]] = [
    ("deribit", INVERSE, "trades", "reach_s", DAY_S, "get_last_trades_by_currency_and_time, 2026: 24 hours"),
    ("gate", GATE_SPOT, "trades", "reach_s", 30 * DAY_S, "gate-api 7.2.161, list_trades: the last 30 days"),
    ("binanceusdm", LINEAR, "trades", "reach_s", 2 * DAY_S, "Binance's SDK of USDS futures 18.1.0: 48 hours"),
    ("binancecoinm", INVERSE, "trades", "reach_s", 2 * DAY_S, "Binance's SDK of coin futures 14.1.0: 48 hours"),
    ("krakenfutures", LINEAR, "trades", "reach_s", 7 * DAY_S, "get-trade-history, 2026: 7 days"),
    ("bitget", LINEAR, "candles", "span_s", 90 * DAY_S, "Get-History-Candle-Data, 2026: 90 days"),
    ("bitget", SPOT, "trades", "span_s", 7 * DAY_S, "Get-Market-Trades, 2026: a week"),
    ("mexc", SPOT, "candles", "most", 500, "ccxt 4.5.90, mexc.py, fetch_ohlcv: in practice 500"),
    ("kucoin", SPOT, "candles", "most", 1499, "get-klines, 2026: 1500, and the end may be one of them"),
    ("bitget", SPOT, "candles", "most", 199, "Get-History-Candle-Data, 2026: 200, and the end may be one of them"),
    ("coinbase", SPOT, "candles", "most", 349, "get-public-product-candles, 2026: 350, and the end is one of them"),
    ("kucoinfutures", LINEAR, "candles", "most", 200, "ccxt 4.5.90, kucoin.py, fetch_contract_ohlcv: 200"),
    ("dydx", LINEAR, "trades", "most", 1000, "the indexer's API_LIMIT_V4"),
]


def way(id: str, instrument: Instrument, channel: str) -> PastPages:
    exchange = load_exchange(id)
    assert exchange is not None
    return next(each for each in exchange.history if each.channel == channel and each.serves(instrument))


def case_name(case: Case) -> str:
    return f"{case[0]}-{case[1].kind}-{case[2]}"


def row(record: Trade | Candle) -> tuple[object, ...]:
    def shown(ts: int) -> int | float:
        return ts // MS_NS if ts % MS_NS == 0 else ts / MS_NS

    if isinstance(record, Trade):
        return record.id, record.price, record.size, record.side, shown(moment(record))
    prices = (record.open, record.high, record.low, record.close)
    volumes = (record.base_volume, record.quote_volume, record.contract_volume)
    return shown(record.ts_open), *prices, *volumes


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_it_is_asked_for_as_documented(case: Case) -> None:
    id, instrument, channel, first, later, _, _ = case
    history = way(id, instrument, channel)
    page = Page(raw_symbol="X", start=START, end=END)
    request = history.request(page)
    assert (request.body.decode() if request.body else request.url) == first
    if not later:
        return
    edge = Trade(raw_symbol="X", id="t499", price="1", size="1", sequence=499, ts_event=START + 5 * SECOND_NS)
    start = moment(edge) if history.walk == "forward" else START
    number = 500 if history.walk == "numbered" else None
    again = history.request(Page(raw_symbol="X", start=start, end=END, edge=edge, number=number))
    assert again.url == later


@pytest.mark.parametrize("case", [case for case in CASES if case[6]], ids=case_name)
def test_the_answer_of_the_documentation_is_read(case: Case) -> None:
    id, instrument, channel, _, _, body, gives = case
    found = list(way(id, instrument, channel).parse(Page(raw_symbol="X", start=START, end=END), body.encode()))
    assert [row(record) for record in found] == gives
    assert all(name(record) for record in found)


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_half_an_answer_and_garbage_raise(case: Case) -> None:
    id, instrument, channel, _, _, body, _ = case
    history, page = way(id, instrument, channel), Page(raw_symbol="X", start=START, end=END)
    for bad in (body[: len(body) // 2], "<html>", '"x"', ""):
        with pytest.raises(Exception):  # noqa: B017, PT011 - whatever it is, the page is asked for again
            list(history.parse(page, bad.encode()))


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: f"{limit[0]}-{limit[2]}-{limit[3]}")
def test_no_more_is_asked_for_than_there_is(limit: tuple[str, Instrument, str, str, int, str]) -> None:
    id, instrument, channel, name_, most, source = limit
    asked = getattr(way(id, instrument, channel), name_)
    assert asked is not None, source
    assert asked <= most, source


# answers by others' tests and recordings: exchange, how the path begins, instrument, channel
GENUINE: list[tuple[str, str, Instrument, str]] = [
    ("binance", "/api/v3/historicalTrades", SPOT, "trades"),
    ("binance", "/api/v3/klines", SPOT, "candles"),
    ("binanceusdm", "/fapi/v1/aggTrades", LINEAR, "trades"),
    ("binanceusdm", "/fapi/v1/klines", LINEAR, "candles"),
    ("binancecoinm", "/dapi/v1/aggTrades", INVERSE, "trades"),
    ("binancecoinm", "/dapi/v1/klines", INVERSE, "candles"),
    ("bitfinex", "/v2/trades/", SPOT, "trades"),
    ("bitfinex", "/v2/candles/trade:1D:tETHUST/hist", SPOT, "candles"),
    ("bitget", "/api/v2/spot/market/fills-history", SPOT, "trades"),
    ("bitget", "/api/v2/mix/market/fills-history", LINEAR, "trades"),
    ("bitget", "/api/v2/spot/market/history-candles", SPOT, "candles"),
    ("bitget", "/api/v2/mix/market/history-candles", LINEAR, "candles"),
    ("bitstamp", "/api/v2/transactions/", SPOT, "trades"),
    ("bitstamp", "/api/v2/ohlc/", SPOT, "candles"),
    ("bybit", "/v5/market/recent-trade", LINEAR, "trades"),
    ("bybit", "/v5/market/kline", LINEAR, "candles"),
    ("coinbase", "/api/v3/brokerage/market/products/ETH-USDT/ticker", SPOT, "trades"),
    ("coinbase", "/api/v3/brokerage/market/products/ETH-USDT/candles", SPOT, "candles"),
    ("gate", "/api/v4/futures/usdt/trades", LINEAR, "trades"),
    ("gate", "/api/v4/spot/candlesticks", GATE_SPOT, "candles"),
    ("gate", "/api/v4/futures/usdt/candlesticks", LINEAR, "candles"),
    ("htx", "/market/history/trade", SPOT, "trades"),
    ("htx", "/market/history/kline", SPOT, "candles"),
    ("htx", "/linear-swap-ex/market/history/trade", LINEAR, "trades"),
    ("htx", "/linear-swap-ex/market/history/kline", LINEAR, "candles"),
    ("kraken", "/0/public/Trades", SPOT, "trades"),
    ("kraken", "/0/public/OHLC", SPOT, "candles"),
    ("krakenfutures", "/derivatives/api/v3/history", LINEAR, "trades"),
    ("kucoin", "/api/v1/market/histories", SPOT, "trades"),
    ("kucoin", "/api/v1/market/candles", SPOT, "candles"),
    ("kucoinfutures", "/api/v1/trade/history", LINEAR, "trades"),
    ("mexc", "/api/v3/klines", SPOT, "candles"),
    ("okx", "/api/v5/market/history-trades", SPOT, "trades"),
    ("okx", "/api/v5/market/history-candles", SPOT, "candles"),
]  # fmt: skip


@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"{CORPUS} is not here")
@pytest.mark.parametrize("genuine", GENUINE, ids=lambda genuine: f"{genuine[0]}-{genuine[1]}")
def test_a_genuine_answer_is_of_its_time(genuine: tuple[str, str, Instrument, str]) -> None:
    id, path, instrument, channel = genuine
    rows = [json.loads(line) for line in (CORPUS / id / "rest.jsonl").read_text().splitlines()]
    bodies = [row["raw"].encode() for row in rows if (row["url"] or "").startswith(path)]
    assert bodies
    for body in bodies:
        found = list(way(id, instrument, channel).parse(Page(raw_symbol="x", start=START, end=END), body))
        assert found
        assert all(FIRST_TRADES < moment(record) < LAST_TRADES for record in found)
        assert [moment(record) for record in found] == sorted(moment(record) for record in found)


def declared() -> Mapping[str, tuple[PastPages, ...]]:
    loaded = {id: load_exchange(id) for id in connector_ids()}
    return {id: exchange.history for id, exchange in loaded.items() if exchange is not None and exchange.history}


def test_what_is_declared_can_be_walked() -> None:
    for id, ways in declared().items():
        for history in ways:
            told = f"{id} {history.channel}"
            assert (history.channel == "candles") == bool(history.intervals), told
            lengths = [interval_s(interval) for interval in history.intervals]
            assert None not in lengths, told
            assert history.deepest is None or history.channel == "candles", told
            assert history.most > 1, told
            for interval in history.intervals or ("1m",):
                page = Page(raw_symbol="X", interval=interval, start=START, end=START + 5 * MINUTE_NS)
                request = history.request(page)
                assert request.sign is None, told
                assert request.url.startswith("https://"), told
                msgspec.json.encode(request.url)
