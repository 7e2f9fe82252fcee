// Arrow arrays ↔ Columns. Zero-copy where the layouts agree; the types of parquet.h otherwise.
#pragma once

#include <arrow/api.h>

#include <memory>
#include <string>

#include "table/table.h"

namespace uniscale::table {

// `where` (file and column) starts the error of a value or type that cannot be held. Throws UserError.
// `keep_codes`: strings with a dictionary stay coded by it, else they are copied out.
Column import_array(const std::shared_ptr<arrow::Array>& array, const std::string& where,
                    bool keep_codes = false);
Table import_batch(const arrow::RecordBatch& batch, const std::string& where, bool keep_codes = false);

std::shared_ptr<arrow::DataType> export_type(const Column& column);
std::shared_ptr<arrow::Array> export_array(const Column& column);

}  // namespace uniscale::table
