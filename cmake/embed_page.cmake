# cmake -DIN=page.html -DOUT=page.cc -P embed_page.cmake
#
# The page as a C++ string, and a Content-Security-Policy that lets its one <script> and its one <style> run, by hash,
# and nothing else.
file(READ "${IN}" page)

# Base64 of the SHA-256 of what stands between <tag> and </tag>.
function(hash_of tag out)
  string(FIND "${page}" "<${tag}>" begin)
  string(FIND "${page}" "</${tag}>" end)
  if(begin EQUAL -1 OR end EQUAL -1)
    message(FATAL_ERROR "${IN}: expected one <${tag}>")
  endif()
  string(LENGTH "<${tag}>" skip)
  math(EXPR begin "${begin} + ${skip}")
  math(EXPR length "${end} - ${begin}")
  string(SUBSTRING "${page}" ${begin} ${length} content)
  string(SHA256 hex "${content}")
  set(digits "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
  set(base64 "")
  string(APPEND hex "00")  # 256 bits, filled up to 22 groups of 12
  foreach(group RANGE 21)
    math(EXPR at "${group} * 3")
    string(SUBSTRING "${hex}" ${at} 3 three)
    math(EXPR high "0x${three} >> 6")
    math(EXPR low "0x${three} & 63")
    string(SUBSTRING "${digits}" ${high} 1 first)
    string(SUBSTRING "${digits}" ${low} 1 second)
    string(APPEND base64 "${first}${second}")
  endforeach()
  string(SUBSTRING "${base64}" 0 43 base64)
  set(${out} "${base64}=" PARENT_SCOPE)
endfunction()

hash_of(script script_hash)
hash_of(style style_hash)
string(CONCAT policy "default-src 'none'; script-src 'sha256-${script_hash}'; style-src 'sha256-${style_hash}'; "
  "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
file(WRITE "${OUT}" "// Made from page.html.\n#include \"serve/ui_api.h\"\n\nnamespace uniscale::serve {\n\n"
  "const char* const kPagePolicy = \"${policy}\";\nconst char* const kPage = R\"uspage(")
file(APPEND "${OUT}" "${page}")
file(APPEND "${OUT}" ")uspage\";\n\n}  // namespace uniscale::serve\n")
